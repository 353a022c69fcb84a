// cachectl stats, and what others count for it.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "lock/retry.hpp"
#include "tests/cli/support.hpp"

namespace cachectl::test {

using Json = nlohmann::json;

namespace {

Json stats(const Sandbox& sandbox, std::vector<std::string> names = {}) {
  std::vector<std::string> arguments{"stats", "--json"};
  arguments.insert(arguments.end(), names.begin(), names.end());
  const auto told = sandbox.run(std::move(arguments));
  REQUIRE(told.status == 0);
  CHECK(told.errors.empty());
  CHECK(lines_of(told.output).size() == 1);
  return Json::parse(told.output);
}

void configure_entries(const Sandbox& sandbox, const std::string& more = "") {
  configure(sandbox, more +
                         "[entries.prices]\nsource = [\"echo\", \"42\"]\nttl = \"1h\"\n"
                         "[entries.\"user:*\"]\nttl = \"1h\"\n"
                         "[entries.broken]\nsource = [\"sh\", \"-c\", \"exit 3\"]\n");
}

/// What a program shows on a terminal of its own.
std::string on_terminal(const Program& program) {
  int master = -1;
  const pid_t pid = ::forkpty(&master, nullptr, nullptr, nullptr);
  if (pid == 0) {
    std::vector<char*> argv;
    for (const auto& word : program.argv) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    for (const auto& variable : program.environment) {
      const auto cut = variable.find('=');
      if (cut == std::string::npos) continue;
      ::setenv(variable.substr(0, cut).c_str(), variable.substr(cut + 1).c_str(), 1);
    }
    if (::chdir(program.directory.c_str()) != 0) ::_exit(255);
    ::execvp(argv[0], argv.data());
    ::_exit(255);
  }
  const lock::Fd line(master);
  std::string text;
  std::array<char, 4096> part{};
  while (true) {
    const auto got = ::read(master, part.data(), part.size());
    if (got <= 0) break;  // EIO: its end
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  lock::retry([&] { return ::waitpid(pid, &status, 0); });
  CHECK(status == 0);
  return text;
}

}  // namespace

TEST_CASE("stats: hits, misses and failures of entries, patterns and all others") {
  const Sandbox sandbox;
  configure_entries(sandbox);
  CHECK(sandbox.run({"get", "prices"}).output == "42\n");
  CHECK(sandbox.run({"get", "prices", "prices"}).output == "42\n42\n");
  CHECK(sandbox.run({"set", "user:1", "one"}).status == 0);
  CHECK(sandbox.run({"get", "user:1"}).status == 0);
  CHECK(sandbox.run({"get", "user:2"}).status == 1);
  CHECK(sandbox.run({"get", "broken"}).status == 3);
  CHECK(sandbox.run({"get", "nothing"}).status == 1);
  CHECK(sandbox.run({"run", "--", "echo", "x"}).status == 0);

  const auto told = stats(sandbox);
  CHECK(told["version"] == 1);
  REQUIRE(told["entries"].size() == 3);
  const auto& broken = told["entries"][0];
  CHECK(broken["entry"] == "broken");
  CHECK(broken["failures"]["status"] == 1);
  CHECK(broken["hit_ratio"] == 0.0);
  const auto& prices = told["entries"][1];
  CHECK(prices["entry"] == "prices");
  CHECK(prices["requests"] == Json({{"hit", 2}, {"stale", 0}, {"miss", 1}}));
  CHECK(prices["hit_ratio"].get<double>() == Approx(2.0 / 3));
  CHECK(prices["saved_seconds"] > 0);
  CHECK(prices["served_bytes"] == 6);
  CHECK(prices["seconds"]["hit"]["count"] == 2);
  CHECK(prices["seconds"]["hit"]["p50"] > 0);
  CHECK(prices["seconds"]["hit"]["p50"] <= prices["seconds"]["hit"]["p99"]);
  const auto& users = told["entries"][2];
  CHECK(users["entry"] == "user:*");
  CHECK(users["requests"] == Json({{"hit", 1}, {"stale", 0}, {"miss", 1}}));
  CHECK(told["others"]["requests"]["miss"] == 2);
  CHECK(told["total"]["requests"] == Json({{"hit", 3}, {"stale", 0}, {"miss", 5}}));
  CHECK(told["total"]["publishes"] == 3);

  CHECK(stats(sandbox, {"user:7", "prices", "user:*"})["entries"].size() == 2);
  CHECK(stats(sandbox, {"user:7"})["entries"][0]["entry"] == "user:*");
  const auto unknown = sandbox.run({"stats", "elsewhere"});
  CHECK(unknown.status == 2);
  CHECK(is_one_message(unknown.errors));
}

TEST_CASE("stats: an entry that nobody has used has counted nothing") {
  const Sandbox sandbox;
  configure_entries(sandbox);
  CHECK(sandbox.run({"set", "k", "v"}).status == 0);
  const auto told = stats(sandbox, {"prices"});
  CHECK(told["entries"][0]["entry"] == "prices");
  CHECK(told["entries"][0]["hit_ratio"].is_null());
}

TEST_CASE("stats: the text fits 80 columns, and is coloured on a terminal only") {
  const Sandbox sandbox;
  const std::string longest(200, 'x');
  configure_entries(sandbox, "[entries." + longest + "]\nttl = \"1h\"\n");
  CHECK(sandbox.run({"get", "broken"}).status == 3);
  CHECK(sandbox.run({"set", longest, "v"}).status == 0);
  for (int time = 0; time < 3; ++time) CHECK(sandbox.run({"get", "prices"}).status == 0);
  for (const auto& arguments : {std::vector<std::string>{"stats"}, {"stats", "prices", longest}}) {
    const auto told = sandbox.run(arguments);
    CHECK(told.status == 0);
    CHECK_THAT(told.output, Catch::Contains("prices") && Catch::Contains("66.7 %"));
    CHECK(told.output.find('\x1b') == std::string::npos);
    for (const auto& line : lines_of(told.output)) {
      INFO(line);
      const auto characters =
          std::count_if(line.begin(), line.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
      CHECK(characters <= 80);
    }
  }
  auto program = sandbox.cachectl({"stats"});
  program.environment.emplace_back("TERM=xterm");
  CHECK_THAT(on_terminal(program), Catch::Contains("\x1b[1mENTRY"));
  program.environment.emplace_back("NO_COLOR=1");
  const auto plain = on_terminal(program);
  CHECK_THAT(plain, Catch::Contains("ENTRY"));
  CHECK(plain.find('\x1b') == std::string::npos);
}

TEST_CASE("stats: names cannot write to a terminal, break a line or a format") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.\"a\\u001b[31m\\nb\\\"c\\\\\"]\nttl = \"1h\"\n");
  CHECK(sandbox.run({"set", "a\x1b[31m\nb\"c\\", "v"}).status == 0);
  for (const std::string format : {"text", "json", "prometheus"}) {
    const auto told = sandbox.run({"stats", "--format", format});
    CHECK(told.status == 0);
    CHECK(told.output.find('\x1b') == std::string::npos);
    CHECK_THAT(told.output, Catch::Contains(format == "json" ? "\\u001b[31m" : "x1b[31m"));
  }
  CHECK(stats(sandbox)["entries"][0]["entry"] == "a\x1b[31m\nb\"c\\");
}

TEST_CASE("stats: prometheus, reset, and what does not go together") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "k", "v"}).status == 0);
  const auto told = sandbox.run({"stats", "--format=prometheus", "--reset"});
  CHECK(told.status == 0);
  CHECK_THAT(told.output, Catch::StartsWith("# HELP cachectl_") &&
                              Catch::Contains("\ncachectl_publishes_total{entry=\"\"} 1\n"));
  CHECK_THAT(sandbox.run({"stats", "--format=prometheus"}).output,
             Catch::Contains("\ncachectl_publishes_total{entry=\"\"} 0\n"));
  CHECK(sandbox.run({"stats", "--format=xml"}).status == 2);
  CHECK(sandbox.run({"stats", "--format=text", "--json"}).status == 2);
  CHECK(sandbox.run({"stats", "--format=prometheus", "k"}).status == 2);
}

TEST_CASE("stats: nothing was counted where nothing happened, or counters are switched off") {
  const Sandbox sandbox;
  const auto none = sandbox.run({"stats"});
  CHECK(none.status == 0);
  CHECK(none.output.empty());
  CHECK(is_one_message(none.errors));
  CHECK(stats(sandbox)["total"]["publishes"] == 0);
  auto program = sandbox.cachectl({"set", "k", "v"});
  program.environment.emplace_back("CACHECTL_COUNTERS=false");
  CHECK(run(program).status == 0);
  CHECK_FALSE(std::filesystem::exists(sandbox.root() + "/counters"));
  CHECK(sandbox.run({"get", "k"}).output == "v");
  CHECK(stats(sandbox)["total"]["requests"]["hit"] == 1);
}

TEST_CASE("stats: those who waited for a run are told as shared, and locks with their waits") {
  const Sandbox sandbox;
  std::vector<Running> crowd;
  for (int number = 0; number < 6; ++number) {
    crowd.emplace_back(sandbox.cachectl({"run", "--key", "k", "--", "sleep", "0.5"}));
  }
  for (auto& each : crowd) CHECK(each.wait().status == 0);
  const auto total = stats(sandbox)["total"];
  const auto hits = total["requests"]["hit"].get<int>();  // who came late
  CHECK(total["shared"].get<int>() == 5 - hits);
  CHECK(total["source_runs"] == 1);
  CHECK(total["seconds"]["source"]["p50"].get<double>() > 0.47);
  CHECK(total["seconds"]["lock_hold"]["count"] == 1);
  CHECK(total["seconds"]["lock_wait"]["count"].get<int>() == 6 - hits);
}

TEST_CASE("stats: a lease and a lock command are counted to their end") {
  const Sandbox sandbox;
  CHECK(run(sandbox.shell("id=$(\"$cachectl\" acquire k); sleep 0.1; \"$cachectl\" release $id"))
            .status == 0);
  CHECK(sandbox.run({"lock", "--", "sleep", "0.1"}).status == 0);
  CHECK(run(sandbox.shell("\"$cachectl\" lock --key k -- sh -c '\"$cachectl\" get x; exit 0'"))
            .status == 0);
  const auto total = stats(sandbox)["total"];
  CHECK(total["leases"] == 1);
  CHECK(total["leases_lost"] == 0);
  CHECK(total["seconds"]["lock_hold"]["count"] == 3);
  CHECK(total["seconds"]["lock_hold"]["sum"].get<double>() >= 0.2);
}

TEST_CASE("stats: replicas are counted from their checkout to their end") {
  const Sandbox sandbox;
  write_file(sandbox.file("work/value"), "content");
  CHECK(sandbox.run({"set", "k", "--dir", "value"}).status == 0);
  CHECK(sandbox.run({"pool", "exec", "k", "--", "true"}).status == 0);
  CHECK(run(sandbox.shell("dir=$(\"$cachectl\" pool checkout k) && "
                          "\"$cachectl\" pool checkin \"$dir\""))
            .status == 0);
  const auto total = stats(sandbox)["total"];
  CHECK(total["seconds"]["checkout"]["count"] == 2);
  CHECK(total["checkins"] == 2);
}

TEST_CASE("stats: a cache that may only be read is read, and counts nothing, in silence") {
  if (::geteuid() != 0) {
    WARN("NOT TESTED: needs root to mount");
    return;
  }
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "k", "v"}).status == 0);
  const auto script =
      "mount --bind \"$CACHECTL_ROOT\" \"$CACHECTL_ROOT\" && "
      "mount -o remount,bind,ro \"$CACHECTL_ROOT\" && "
      "\"$cachectl\" get k && \"$cachectl\" stats --format prometheus";
  auto program = sandbox.shell(script);
  program.argv.insert(program.argv.begin(), {"unshare", "--mount", "--propagation", "private"});
  const auto told = run(program);
  if (told.errors.find("unshare") != std::string::npos) {
    WARN("NOT TESTED: cannot mount here");
    return;
  }
  CHECK(told.status == 0);
  CHECK(told.errors.empty());
  CHECK_THAT(told.output,
             Catch::StartsWith("v# HELP") &&
                 Catch::Contains("cachectl_requests_total{entry=\"\",result=\"hit\"} 0"));
  CHECK(sandbox.run({"stats", "--reset"}).status == 0);
}

}  // namespace cachectl::test
