// How `cachectl daemon` ends, when it is asked to and when it is not.
#include <signal.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/cli/daemons.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A source that leaves its number in a file and works until it is ended; `traps` may say
/// what it does with signals.
std::string endless(const Sandbox& sandbox, const std::string& name, const std::string& traps) {
  return traps + "echo part; echo $$ >" + sandbox.file(name) + ".new; mv " + sandbox.file(name) +
         ".new " + sandbox.file(name) + "; while :; do sleep 0.1; done";
}

/// Waits until an endless source runs.
pid_t source_in(const Sandbox& sandbox, const std::string& name) {
  REQUIRE(wait_until([&] { return fs::exists(sandbox.file(name)); }));
  return static_cast<pid_t>(std::stol(content_of(sandbox.file(name))));
}

std::chrono::steady_clock::duration time_of(const std::function<void()>& what) {
  const auto start = std::chrono::steady_clock::now();
  what();
  return std::chrono::steady_clock::now() - start;
}

}  // namespace

TEST_CASE("daemon: SIGTERM and SIGINT end its sources, which roll back, and it ends with 0") {
  const Sandbox sandbox;
  const int signal = GENERATE(SIGTERM, SIGINT);
  Service service(
      sandbox,
      warm_entry(
          "k", endless(sandbox, "pid", "trap 'echo >" + sandbox.file("asked") + "; exit 1' TERM; "),
          "ttl = '1h'"));
  const auto source = source_in(sandbox, "pid");
  CHECK(sandbox.staged().size() == 1);
  service.process().send(signal);
  const auto ended = service.process().wait();
  CHECK(ended.status == 0);
  CHECK(ended.errors.find("stopping, and ending 1 refresh\n") != std::string::npos);
  CHECK(service.manager().hears("STOPPING=1", seconds(1)));
  CHECK(fs::exists(sandbox.file("asked")));
  CHECK_FALSE(lives(source));
  CHECK(sandbox.staged().empty());
  CHECK(value_of(sandbox, "k").empty());
}

TEST_CASE("daemon: ends within 5 seconds though a source ignores that it is asked to") {
  const Sandbox sandbox;
  Service service(sandbox, warm_entry("k", endless(sandbox, "pid", "trap '' TERM; sleep 300 & "),
                                      "ttl = '1h'"));
  const auto source = source_in(sandbox, "pid");
  Outcome ended;
  const auto took = time_of([&] { ended = service.stop(); });
  CHECK(ended.status == 0);
  CHECK(took > seconds(3));
  CHECK(took < seconds(5));
  CHECK(wait_until([&] { return !lives(source); }));
  // Nothing that it has started keeps the key.
  CHECK(sandbox.run({"set", "k", "--timeout", "5s", "v"}).status == 0);
}

TEST_CASE("daemon: who asks it twice to end does not wait") {
  const Sandbox sandbox;
  Service service(sandbox,
                  warm_entry("k", endless(sandbox, "pid", "trap '' TERM; "), "ttl = '1h'"));
  source_in(sandbox, "pid");
  service.process().send(SIGTERM);
  REQUIRE(service.says("stopping"));
  const auto took = time_of([&] { CHECK(service.stop().status == 0); });
  CHECK(took < seconds(3));
}

TEST_CASE("daemon: SIGKILL ends its sources too, and leaves nothing that hinders the next one") {
  const Sandbox sandbox;
  const auto configuration =
      warm_entry("k", endless(sandbox, "pid", "trap '' TERM; "), "ttl = '1h'") +
      warm_entry("done", "echo v", "ttl = '1h'");
  pid_t source = 0;
  {
    Service killed(sandbox, configuration);
    source = source_in(sandbox, "pid");
    REQUIRE(becomes(sandbox, "done", "v\n"));
    killed.process().send(SIGKILL);
    CHECK(killed.process().wait().status == 137);
  }
  CHECK(wait_until([&] { return !lives(source); }));
  CHECK(sandbox.staged().size() == 1);

  Service next(sandbox, warm_entry("k", "echo new", "ttl = '1h'") +
                            warm_entry("done", "echo v", "ttl = '1h'"));
  CHECK(next.is_ready());
  CHECK(value_of(sandbox, "k") == "new\n");
  CHECK(wait_until([&] { return sandbox.staged().empty(); }));  // its first gc
  CHECK(next.stop().status == 0);
}

TEST_CASE("daemon: reaps what it has started") {
  const Sandbox sandbox;
  std::string entries;
  for (int each = 0; each < 6; ++each) {
    entries += warm_entry("k" + std::to_string(each), each < 3 ? "echo v" : "exit 3",
                          "ttl = '1h'\nwarm-interval = '1s'");
  }
  Service service(sandbox, entries + "[daemon]\ngc-interval = '100ms'\n");
  REQUIRE(service.is_ready());
  const auto pid = service.process().pid();
  std::this_thread::sleep_for(seconds(3));
  // One that has just ended may not have been noticed yet.
  CHECK(wait_until([&] { return children_of(pid, Which::zombies).empty(); }, seconds(1)));
  CHECK(service.stop().status == 0);
  CHECK(children_of(pid, Which::all).empty());
}

}  // namespace cachectl::test
