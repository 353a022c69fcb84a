// What each subcommand does when all is well.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/exit_status.hpp"
#include "tests/cli/support.hpp"

namespace cachectl::test {

TEST_CASE("get: prints the values of all keys, and says no when one is missing") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "a", "1"}).status == 0);
  CHECK(sandbox.run({"set", "b", "2"}).status == 0);
  const auto both = sandbox.run({"get", "a", "b"});
  CHECK(both.status == 0);
  CHECK(both.output == "12");
  const auto partly = sandbox.run({"get", "a", "none", "b"});
  CHECK(partly.status == 1);
  CHECK(partly.output == "12");
  CHECK(partly.errors.empty());
}

TEST_CASE("get: --json is one object a line, with bytes that are no UTF-8 in base64") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "a", "\xff"}).status == 0);
  const auto lines = lines_of(sandbox.run({"get", "--json", "a", "none"}).output);
  REQUIRE(lines.size() == 2);
  const auto hit = nlohmann::json::parse(lines[0]);
  CHECK(hit["hit"] == true);
  CHECK(hit["value_base64"] == "/w==");
  CHECK(hit["expires"].is_null());
  CHECK(nlohmann::json::parse(lines[1])["hit"] == false);
}

TEST_CASE("get: a large damaged value is a miss, and nothing of it stays in a file") {
  const Sandbox sandbox;
  auto set = sandbox.cachectl({"set", "k"});
  set.input = std::string(3 << 20, 'v');
  REQUIRE(run(set).status == 0);
  const auto copied = [&](int flags) {
    const lock::Fd file(
        ::open(sandbox.file("copy").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600));
    if (flags == 0) ::lseek(file.get(), 0, SEEK_END);
    auto get = sandbox.cachectl({"get", "k"});
    get.output_to = file.get();
    return run(get);
  };
  CHECK(copied(O_TRUNC).status == 0);
  CHECK(content_of(sandbox.file("copy")) == set.input);

  const std::string path =
      nlohmann::json::parse(sandbox.run({"show", "--json", "k"}).output)["file"];
  {
    std::fstream record(path, std::ios::in | std::ios::out | std::ios::binary);
    record.seekp(-1, std::ios::end);
    record.put('X');
  }
  std::ofstream(sandbox.file("copy")) << "mine";
  for (const int flags : {0, O_APPEND}) {
    const auto outcome = copied(flags);
    CHECK(outcome.status == 1);
    CHECK(is_one_message(outcome.errors));
    CHECK(content_of(sandbox.file("copy")) == "mine");
  }
  CHECK(sandbox.run({"get", "k"}).output.empty());
}

TEST_CASE("set: takes its value from an argument, a file or standard input") {
  const Sandbox sandbox;
  std::ofstream(sandbox.file("value")) << "from a file";
  auto by_input = sandbox.cachectl({"set", "k"});
  by_input.input = "from standard input";
  CHECK(run(by_input).status == 0);
  CHECK(sandbox.run({"get", "k"}).output == "from standard input");
  CHECK(sandbox.run({"set", "k", "--file", sandbox.file("value")}).status == 0);
  CHECK(sandbox.run({"get", "k"}).output == "from a file");
  CHECK(sandbox.run({"set", "k", ""}).status == 0);
  const auto empty = sandbox.run({"get", "k"});
  CHECK(empty.status == 0);
  CHECK(empty.output.empty());
}

TEST_CASE("set: an expired value is a miss; --if-absent keeps a fresh one only") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "k", "old", "--ttl", "50ms"}).status == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  CHECK(sandbox.run({"get", "k"}).status == 1);
  CHECK(sandbox.run({"set", "k", "new", "--if-absent"}).status == 0);
  CHECK(sandbox.run({"set", "k", "newer", "--if-absent"}).status == 1);
  CHECK(sandbox.run({"get", "k"}).output == "new");
}

TEST_CASE("delete: removes keys and prefixes, and says no when there was nothing") {
  const Sandbox sandbox;
  for (const char* key : {"user:1", "user:2", "other"}) {
    CHECK(sandbox.run({"set", key, "v"}).status == 0);
  }
  CHECK(sandbox.run({"delete", "--prefix", "user:"}).status == 0);
  CHECK(sandbox.run({"delete", "--prefix", "user:"}).status == 1);
  CHECK(lines_of(sandbox.run({"ls"}).output).size() == 1);
  CHECK(sandbox.run({"delete", "none", "other"}).status == 0);
  CHECK(sandbox.run({"delete", "other"}).status == 1);
}

TEST_CASE("ls: is sorted, takes a glob, and has tabs in a pipe") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "b", "12345", "--ttl", "1h"}).status == 0);
  CHECK(sandbox.run({"set", "a", "1"}).status == 0);
  CHECK(sandbox.run({"ls"}).output.substr(0, 2) == "a\t");
  const auto lines = lines_of(sandbox.run({"ls", "b*"}).output);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].substr(0, 2) == "b\t");
  CHECK(lines[0].substr(lines[0].size() - 2) == "\t5");
  CHECK(sandbox.run({"ls", "c*"}).status == 1);
  const auto row = nlohmann::json::parse(lines_of(sandbox.run({"ls", "--json", "b"}).output)[0]);
  CHECK(row["size"] == 5);
  CHECK(row["left_seconds"].get<double>() > 3000);
}

TEST_CASE("show: tells everything, also of a damaged entry") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "k", "value", "--ttl", "1h"}).status == 0);
  const auto shown = nlohmann::json::parse(sandbox.run({"show", "--json", "k"}).output);
  CHECK(shown["intact"] == true);
  CHECK(shown["fresh"] == true);
  const std::string file = shown["file"];
  {
    std::fstream record(file, std::ios::in | std::ios::out | std::ios::binary);
    record.seekp(-1, std::ios::end);
    record.put('X');
  }
  CHECK(nlohmann::json::parse(sandbox.run({"show", "--json", "k"}).output)["intact"] == false);
  const auto got = sandbox.run({"get", "k"});
  CHECK(got.status == 1);
  CHECK(got.output.empty());
  CHECK(is_one_message(got.errors));
}

TEST_CASE("run: replays standard output, standard error and exit status") {
  const Sandbox sandbox;
  const auto script = sandbox.script("source", "echo run >> " + sandbox.file("log") +
                                                   "\necho to-output\n"
                                                   "echo to-errors >&2\n"
                                                   "exit 7\n");
  for (int call = 0; call < 3; ++call) {
    const auto outcome = sandbox.run({"run", "--no-store-on", "9", "--", script});
    CHECK(outcome.status == 7);
    CHECK(outcome.output == "to-output\n");
    CHECK(outcome.errors == "to-errors\n");
  }
  CHECK(content_of(sandbox.file("log")) == "run\n");
}

TEST_CASE("run: by default only success is stored") {
  const Sandbox sandbox;
  const auto script = sandbox.script("source", "echo run >> " + sandbox.file("log") + "\nexit 7\n");
  CHECK(sandbox.run({"run", "--", script}).status == 7);
  CHECK(sandbox.run({"run", "--", script}).status == 7);
  CHECK(content_of(sandbox.file("log")) == "run\nrun\n");
}

TEST_CASE("run: the key depends on what it was told to depend on") {
  const Sandbox sandbox;
  const auto script = sandbox.script("source", "echo run >> " + sandbox.file("log") + "\n");
  int runs = 0;
  const auto ran = [&](const std::vector<std::string>& options, const std::string& variable = "") {
    std::vector<std::string> arguments{"run"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.insert(arguments.end(), {"--", script});
    auto program = sandbox.cachectl(arguments);
    if (!variable.empty()) program.environment.push_back(variable);
    CHECK(run(program).status == 0);
    const int before = runs;
    runs = static_cast<int>(lines_of(content_of(sandbox.file("log"))).size());
    return runs > before;
  };
  CHECK(ran({}));
  CHECK_FALSE(ran({}));
  CHECK(ran({"--scope", "ci"}));
  CHECK_FALSE(ran({"--scope", "ci"}));
  CHECK(ran({"--cwd"}));
  CHECK_FALSE(ran({"--cwd"}));
  CHECK(ran({"--env", "WHO"}, "WHO=a"));
  CHECK(ran({"--env", "WHO"}, "WHO=b"));
  CHECK_FALSE(ran({"--env", "WHO"}, "WHO=a"));
  std::ofstream(sandbox.file("input")) << "one";
  CHECK(ran({"--content", sandbox.file("input")}));
  CHECK(ran({"--modtime", sandbox.file("input")}));
  std::filesystem::last_write_time(
      sandbox.file("input"), std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  CHECK(ran({"--modtime", sandbox.file("input")}));
  CHECK_FALSE(ran({"--content", sandbox.file("input")}));
  std::ofstream(sandbox.file("input")) << "two";
  CHECK(ran({"--content", sandbox.file("input")}));
  CHECK(ran({"--force"}));
  CHECK_FALSE(ran({}));
}

TEST_CASE("run: serves nothing that is older than the caller's --ttl") {
  const Sandbox sandbox;
  const auto script = sandbox.script("source", "echo run >> " + sandbox.file("log") + "\n");
  CHECK(sandbox.run({"run", "--ttl", "1h", "--", script}).status == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(sandbox.run({"run", "--ttl", "20ms", "--", script}).status == 0);
  CHECK(lines_of(content_of(sandbox.file("log"))).size() == 2);
}

TEST_CASE("run: options behind the command are the command's, with and without --") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"run", "--ttl", "1h", "echo", "--ttl", "-n"}).output == "--ttl -n\n");
  CHECK(sandbox.run({"run", "--", "sh", "-c", "echo $1", "--", "x"}).output == "x\n");
  CHECK(sandbox.run({"run", "sh", "-c", "echo $0 $1", "--", "x"}).output == "-- x\n");
}

TEST_CASE("gc: --dry-run tells what gc then does") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "old", "v", "--ttl", "1ms"}).status == 0);
  CHECK(sandbox.run({"set", "new", "v"}).status == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const auto dry = nlohmann::json::parse(sandbox.run({"gc", "--dry-run", "--json"}).output);
  const auto real = nlohmann::json::parse(sandbox.run({"gc", "--json"}).output);
  CHECK(dry["expired"] == real["expired"]);
  CHECK(real["expired"]["files"] == 1);
  CHECK(real["kept"]["files"] == 1);
  CHECK(nlohmann::json::parse(sandbox.run({"gc", "--json"}).output)["expired"]["files"] == 0);
}

TEST_CASE("gc: --max-entries evicts what was used least recently") {
  const Sandbox sandbox;
  for (const char* key : {"a", "b", "c"}) {
    CHECK(sandbox.run({"set", key, "v"}).status == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(sandbox.run({"get", "a"}).status == 0);
  CHECK(sandbox.run({"gc", "--max-entries", "2"}).status == 0);
  CHECK(sandbox.run({"get", "a"}).status == 0);
  CHECK(sandbox.run({"get", "b"}).status == 1);
  CHECK(sandbox.run({"get", "c"}).status == 0);
}

TEST_CASE("config: init writes what check accepts, and does not overwrite") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"config", "init", sandbox.file("new/c.toml")}).status == 125);
  std::filesystem::create_directory(sandbox.file("new"));
  CHECK(sandbox.run({"config", "init", sandbox.file("new/c.toml")}).status == 0);
  CHECK(sandbox.run({"config", "check", sandbox.file("new/c.toml")}).status == 0);
  CHECK(sandbox.run({"config", "init", sandbox.file("new/c.toml")}).status == 125);
  CHECK(sandbox.run({"config", "init", sandbox.file("new/c.toml"), "--force"}).status == 0);
  const auto shown = sandbox.run({"config", "show", "--origin"});
  CHECK(shown.output.find("environment CACHECTL_ROOT") != std::string::npos);
  CHECK(shown.output.find("default") != std::string::npos);
  CHECK(sandbox.run({"config", "show", "run.ttl"}).status == 2);
  CHECK(sandbox.run({"config", "path", "c.toml"}).status == 2);
  CHECK(sandbox.run({"config", "path"}).output.find("/etc/cachectl/cachectl.toml") !=
        std::string::npos);
}

TEST_CASE("documentation: the page of exit statuses is what the table says") {
  CHECK(content_of(CACHECTL_SOURCE_DIR "/docs/exit-statuses.md") == cli::exit_statuses_markdown());
}

TEST_CASE("run: a value that nobody has read for a while has expired, though it is looked at") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "ask() { $cachectl run --key k --ttl 1h --expire-after-access $1 -- sh -c 'echo run >> runs; "
      "wc -l < runs'; }\n"
      "ask 1s; sleep 1.1; ask 1s; ask 1h"));
  CHECK(outcome.output == "1\n2\n2\n");
}

}  // namespace cachectl::test
