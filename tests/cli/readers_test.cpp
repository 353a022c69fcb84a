// Readers and writers of one key at once.
#include <catch2/catch.hpp>
#include <set>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

constexpr std::size_t kSize = 1024 * 1024;
constexpr int kWriters = 8;
constexpr int kReaders = 8;
const int kRefreshes = is_sanitized() ? 24 : 104;  // of all writers together

/// A value that shows in each line who wrote it.
std::string value_of(int writer) {
  const auto line = std::string(62, static_cast<char>('a' + writer)) + ".\n";
  std::string value;
  while (value.size() < kSize) value += line;
  value.resize(kSize);
  return value;
}

}  // namespace

TEST_CASE("readers: beside many writers each read is one whole value and no error") {
  const Sandbox sandbox;
  std::set<std::string> values;
  for (int writer = 0; writer < kWriters; ++writer) {
    const auto value = value_of(writer);
    write_file(sandbox.file("value" + std::to_string(writer)), value);
    values.insert(value);
  }
  REQUIRE(run(sandbox.shell("exec \"$cachectl\" set k --file ../value0")).status == 0);

  std::vector<Running> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back(sandbox.shell("n=0; while [ $n -lt " +
                                       std::to_string(kRefreshes / kWriters) +
                                       " ]; do \"$cachectl\" set k < ../value" +
                                       std::to_string(writer) + " || exit; n=$((n + 1)); done"));
  }
  // Each reader keeps one copy of each distinct thing that it saw.
  std::vector<Running> readers;
  for (int reader = 0; reader < kReaders; ++reader) {
    const auto prefix = "../read" + std::to_string(reader);
    readers.emplace_back(
        sandbox.shell("n=0; while [ ! -e ../done ]; do \"$cachectl\" get k > " + prefix +
                      " || exit\n"
                      "for f in ../value?; do cmp -s $f " +
                      prefix +
                      " && n=$((n + 1)) && continue 2; done\n"
                      "echo 'not a value that was written' >&2; exit 99; done; echo $n"));
  }
  for (auto& one : writers) {
    const auto outcome = one.wait();
    CHECK(outcome.status == 0);
    CHECK(outcome.errors.empty());
  }
  write_file(sandbox.file("done"), "");
  for (auto& one : readers) {
    const auto outcome = one.wait();
    CHECK(outcome.status == 0);
    CHECK(outcome.errors.empty());
    CHECK(std::stoi("0" + outcome.output) > 0);
  }
  CHECK(values.contains(sandbox.run({"get", "k"}).output));
  CHECK(sandbox.staged().empty());
}

TEST_CASE("readers: a read waits for no lock") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "old"}).status == 0);
  Running holder(sandbox.cachectl({"lock", "--", "sh", "-c", "echo held; sleep 60"}));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  CHECK(sandbox.run({"get", "k"}).output == "old");
  CHECK(sandbox.run({"run", "--key", "k", "--", "false"}).output == "old");
  CHECK(sandbox.run({"ls"}).status == 0);
  CHECK(sandbox.run({"show", "k"}).status == 0);
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK_FALSE(holder.has_ended());
}

}  // namespace cachectl::test
