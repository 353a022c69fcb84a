// `cachectl verify --all`.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

std::string file_of(const Sandbox& sandbox, const std::string& key) {
  return nlohmann::json::parse(sandbox.run({"show", "--json", key}).output)["file"];
}

void flip_last_byte(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char byte = static_cast<char>(file.get());
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(byte ^ 1));
}

}  // namespace

TEST_CASE("verify --all: a cache without damage is intact, and an empty one too") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"verify", "--all"}).status == 0);
  CHECK_FALSE(fs::exists(sandbox.root()));
  REQUIRE(sandbox.run({"set", "k", "value"}).status == 0);
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("work")}).status == 0);
  const auto outcome = sandbox.run({"verify", "--all"});
  CHECK(outcome.status == 0);
  CHECK(outcome.output.empty());
  CHECK_THAT(outcome.errors, Catch::Contains("verify: 2 records (") &&
                                 Catch::Contains(") and 1 trees: all intact"));
}

TEST_CASE("verify --all: names each record and each file of a tree that is damaged") {
  const Sandbox sandbox;
  fs::create_directories(sandbox.file("site/deep"));
  write_file(sandbox.file("site/deep/file"), "content");
  for (int n = 0; n < 40; ++n) {
    REQUIRE(sandbox.run({"set", "k\n" + std::to_string(n), "value"}).status == 0);
  }
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("site")}).status == 0);
  REQUIRE(sandbox.run({"set", "gone", "--dir", sandbox.file("site")}).status == 0);
  const auto tree = lines_of(sandbox.run({"path", "site"}).output).front();
  const auto gone = fs::path(lines_of(sandbox.run({"path", "gone"}).output).front());
  flip_last_byte(file_of(sandbox, "k\n7"));
  write_file(file_of(sandbox, "k\n8"), "garbage");
  const auto moved = file_of(sandbox, "k\n9");
  fs::rename(file_of(sandbox, "k\n10"), moved);
  fs::permissions(tree + "/deep/file", fs::perms::owner_write, fs::perm_options::add);
  flip_last_byte(tree + "/deep/file");
  fs::remove_all(gone.parent_path());
  for (const char* jobs : {"1", "4"}) {
    const auto outcome = sandbox.run({"verify", "--all", "--jobs", jobs});
    INFO(outcome.output << outcome.errors);
    CHECK(outcome.status == 1);
    CHECK_THAT(outcome.output,
               Catch::Contains("k\\n7: ") && Catch::Contains("checksum of the value") &&
                   Catch::Contains(moved + ": lies under the name of another key\n") &&
                   Catch::Contains("/deep/file: content\n") && Catch::Contains("is missing\n"));
    CHECK(outcome.output.find("k\\n11") == std::string::npos);
    CHECK_THAT(outcome.errors, Catch::Contains(": 5 damaged\n"));
  }
  const auto outcome = sandbox.run({"verify", "--all", "--json"});
  CHECK(outcome.status == 1);
  const auto lines = lines_of(outcome.output);
  REQUIRE(lines.size() >= 6);
  for (std::size_t row = 0; row + 1 < lines.size(); ++row) {
    CHECK(nlohmann::json::parse(lines[row]).contains("problem"));
  }
  const auto summary = nlohmann::json::parse(lines.back());
  CHECK(summary["damaged"] == 5);
  CHECK(summary["records"] == 41);
  CHECK(summary["trees"] == 1);
}

TEST_CASE("verify --all: what others replace meanwhile is no damage") {
  const Sandbox sandbox;
  const std::string rounds = is_sanitized() ? "20" : "60";
  Running writer(
      sandbox.shell("for n in $(seq " + rounds +
                    "); do \"$cachectl\" set --durability none k $n; "
                    "\"$cachectl\" set --durability none t --dir .; \"$cachectl\" delete k; done"));
  while (!writer.has_ended()) {
    const auto outcome = sandbox.run({"verify", "--all"});
    INFO(outcome.output << outcome.errors);
    REQUIRE(outcome.status == 0);
  }
  CHECK(writer.wait().status == 0);
}

TEST_CASE("verify: wants keys or --all, and not both") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"verify"}).status == 2);
  CHECK(sandbox.run({"verify", "k", "--all"}).status == 2);
  CHECK(sandbox.run({"verify", "--jobs", "2", "k"}).status == 2);
  CHECK(sandbox.run({"verify", "--all", "--jobs", "0"}).status == 2);
}

}  // namespace cachectl::test
