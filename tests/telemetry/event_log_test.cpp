// The event log: whole lines from many writers, none lost to a rotation, no other file harmed.
#include "src/telemetry/event_log.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "src/telemetry/json_line.hpp"
#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::telemetry {

namespace {

namespace fs = std::filesystem;
using test::Forked;
using test::TempDirectory;

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// The text of a field that is no string.
std::string field(const std::string& line, const std::string& name) {
  const auto at = line.find("\"" + name + "\":");
  if (at == std::string::npos) return {};
  const auto from = at + name.size() + 3;
  return line.substr(from, line.find_first_of(",}", from) - from);
}

/// It is no more than what is to be waited for.
bool has_ended(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid;
}

struct Warned {
  std::vector<std::string> said;
  std::function<void(const Error&)> listener() {
    return [this](const Error& what) { said.push_back(what.describe()); };
  }
};

}  // namespace

TEST_CASE("event log: a line has time, process, event, key and numbers") {
  const TempDirectory directory;
  const auto path = directory.file("events");
  EventLog log(path, {});
  log.happened({What::published, "a\"b\\\n\x7f", std::chrono::milliseconds(1234), {}, 5, 42, 3});
  log.happened({What::lock_acquired, "a\xff"});
  log.happened({What::evicted});
  for (const auto what : {What::hit, What::stale_hit, What::miss}) log.happened({what, "k"});
  const auto lines = lines_of(path);
  REQUIRE(lines.size() == 3);
  const auto pid = std::to_string(::getpid());
  CHECK(lines[0].substr(0, 9) == "{\"time\":\"");
  CHECK(lines[0].substr(38, 3) == "Z\",");  // nanoseconds
  CHECK(lines[0].substr(40) ==
        ",\"pid\":" + pid +
            ",\"event\":\"published\",\"key\":\"a\\\"b\\\\\\u000a\\u007f\",\"entry\":\"" +
            KeyHash::of("a\"b\\\n\x7f").hex() +
            "\",\"duration\":1.234000000,\"status\":3,\"generation\":42,\"bytes\":5}");
  CHECK(lines[1].find(",\"key_base64\":\"Yf8=\",\"entry\":") != std::string::npos);
  CHECK(lines[2].find("\"event\":\"evicted\",\"duration\":0.000000000,") != std::string::npos);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
}

TEST_CASE("event log: lines of 16 writers are whole, and a rotation loses none of them") {
  constexpr int kWriters = 16;
  constexpr int kEach = 400;
  const TempDirectory directory;
  const auto path = directory.file("events");
  std::vector<Forked> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&path, writer](const test::Link& link) {
      EventLog log(path, {});
      // Of different lengths, up to the longest key.
      const std::string key(1 + static_cast<std::size_t>(writer) * 256, 'k');
      link.say("ready");
      if (link.hear() != "go") return 1;
      for (int event = 1; event <= kEach; ++event) {
        log.happened({What::published, key, {}, {}, 0, static_cast<std::uint64_t>(event), writer});
      }
      return 0;
    });
  }
  for (auto& writer : writers) REQUIRE(writer.hear() == "ready");
  for (auto& writer : writers) writer.say("go");
  std::vector<std::string> files{path};
  int rotations = 0;
  for (std::size_t done = 0; done < writers.size();) {
    const auto rotated = rotate(path, 20'000);
    REQUIRE(rotated);
    if (*rotated) {
      ++rotations;
      // Out of the way of the next: nothing may be written over here.
      files.push_back(directory.file("old-" + std::to_string(rotations)));
      REQUIRE(::rename((path + ".1").c_str(), files.back().c_str()) == 0);
    }
    done = 0;
    for (const auto& writer : writers) done += has_ended(writer.pid()) ? 1 : 0;
    ::usleep(200);
  }
  for (auto& writer : writers) CHECK(writer.wait() == 0);
  CHECK(rotations > 1);
  std::set<std::pair<int, int>> seen;
  std::size_t count = 0;
  for (const auto& file : files) {
    for (const auto& line : lines_of(file)) {
      ++count;
      REQUIRE(line.starts_with("{\"time\":\""));
      REQUIRE(line.ends_with(",\"bytes\":0}"));
      const auto writer = field(line, "status");
      REQUIRE(line.size() > 256 * std::stoul(writer));
      seen.emplace(std::stoi(writer), std::stoi(field(line, "generation")));
    }
  }
  CHECK(count == std::size_t{kWriters} * kEach);
  CHECK(seen.size() == count);
}

TEST_CASE("event log: a rotation keeps one old file, and leaves a small or missing log alone") {
  const TempDirectory directory;
  const auto path = directory.file("events");
  CHECK_FALSE(test::must(rotate(path, 0)));
  std::ofstream(path) << "first\n";
  CHECK_FALSE(test::must(rotate(path, 6)));
  CHECK(test::must(rotate(path, 5)));
  CHECK_FALSE(fs::exists(path));
  std::ofstream(path) << "second\n";
  CHECK(test::must(rotate(path, 5)));
  CHECK(lines_of(path + ".1") == std::vector<std::string>{"second"});
}

TEST_CASE("event log: a link, a pipe or a second name in its place is not written to") {
  const TempDirectory directory;
  const auto path = directory.file("events");
  const auto other = directory.file("other");
  std::ofstream(other) << "mine\n";
  const std::string kind = GENERATE("link", "dangling", "pipe", "second name", "directory");
  CAPTURE(kind);
  if (kind == "link") REQUIRE(::symlink(other.c_str(), path.c_str()) == 0);
  if (kind == "dangling") REQUIRE(::symlink(directory.file("new").c_str(), path.c_str()) == 0);
  if (kind == "pipe") REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  if (kind == "second name") REQUIRE(::link(other.c_str(), path.c_str()) == 0);
  if (kind == "directory") REQUIRE(::mkdir(path.c_str(), 0700) == 0);
  Warned warned;
  EventLog log(path, warned.listener());
  log.happened({What::published, "k"});
  REQUIRE(warned.said.size() == 1);
  CHECK(warned.said[0].starts_with("an event was not logged: "));
  CHECK(lines_of(other) == std::vector<std::string>{"mine"});
  CHECK_FALSE(fs::exists(directory.file("new")));
}

TEST_CASE("event log: a cache tells what it publishes and evicts, and not its hits") {
  test::TestCache sandbox;
  const auto path = sandbox.outside().file("events");
  const auto cache = sandbox.open({std::make_shared<EventLog>(path, nullptr)});
  const auto key = test::key_of("k");
  test::put(cache, key, "value");
  CHECK(test::value_of(cache, key) == "value");
  CHECK_FALSE(test::value_of(cache, test::key_of("none")));
  store::GcPolicy policy;
  policy.max_entries = 0;
  sandbox.clock().set(SystemClock().now() + std::chrono::seconds(1));
  test::must(cache.collect(policy));
  std::vector<std::string> events;
  for (const auto& line : lines_of(path)) {
    const auto at = line.find("\"event\":\"") + 9;
    events.push_back(line.substr(at, line.find('"', at) - at));
  }
  CHECK(events ==
        std::vector<std::string>{"lock_acquired", "published", "lock_released", "evicted"});
}

}  // namespace cachectl::telemetry
