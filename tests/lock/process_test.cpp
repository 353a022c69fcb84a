#include "lock/process.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using test::Forked;
using test::Link;

}  // namespace

TEST_CASE("process: this one is alive and knows itself") {
  const auto& self = ProcessIdentity::self();
  CHECK(self.pid == ::getpid());
  CHECK(self.start_ticks == start_ticks_of(::getpid()));
  CHECK(self.start_ticks > 0);
  CHECK(self.pid_namespace > 0);
  CHECK(liveness(self) == Liveness::alive);
}

TEST_CASE("process: all threads of a process are one identity") {
  ProcessIdentity seen;
  std::thread([&] { seen = ProcessIdentity::self(); }).join();
  CHECK(seen == ProcessIdentity::self());
}

TEST_CASE("process: a forked child is another process") {
  const auto ours = ProcessIdentity::self();
  Forked child([&](const Link& link) {
    link.say(ProcessIdentity::self() == ours ? "same" : "other");
    return ProcessIdentity::self().pid == ::getpid() ? 0 : 1;
  });
  CHECK(child.hear() == "other");
  CHECK(child.wait() == 0);
}

TEST_CASE("process: one that ended is gone and has no start") {
  Forked child([](const Link& link) { return link.hear() == "go" ? 0 : 1; });
  const auto pid = child.pid();
  const ProcessIdentity identity{pid, start_ticks_of(pid), ProcessIdentity::self().pid_namespace};
  CHECK(liveness(identity) == Liveness::alive);
  child.kill();
  CHECK(start_ticks_of(pid) == 0);
  CHECK(liveness(identity) == Liveness::gone);
}

TEST_CASE("process: one that ended is gone, even before it is reaped") {
  Forked child([](const Link& link) { return link.hear() == "go" ? 0 : 1; });
  const auto identity = ProcessIdentity::of(child.pid());
  CHECK(liveness(identity) == Liveness::alive);
  child.say("go");
  CHECK(test::wait_until([&] { return liveness(identity) == Liveness::gone; }));
  CHECK(start_ticks_of(child.pid()) != 0);
  CHECK(child.wait() == 0);
}

TEST_CASE("process: a PID with another start is another process") {
  auto identity = ProcessIdentity::self();
  identity.start_ticks += 1;
  CHECK(liveness(identity) == Liveness::gone);
}

TEST_CASE("process: nothing is known of another PID namespace or of no PID") {
  auto identity = ProcessIdentity::self();
  identity.pid_namespace += 1;
  CHECK(liveness(identity) == Liveness::unknown);
  identity = ProcessIdentity::self();
  identity.pid = 0;
  CHECK(liveness(identity) == Liveness::unknown);
  identity.pid = -1;
  CHECK(liveness(identity) == Liveness::unknown);
}

TEST_CASE("process: a name with blanks and parentheses hides no field") {
  const auto* name = GENERATE(") R 1 1 1", "((( )))", "a b) S 2", ")", " ", "x\ny");
  Forked child([&](const Link& link) {
    link.say(std::to_string(start_ticks_of(::getpid())));
    ::prctl(PR_SET_NAME, name);
    link.say(std::to_string(start_ticks_of(::getpid())));
    return 0;
  });
  const auto before = child.hear();
  CHECK(child.hear() == before);
  CHECK(before != "0");
}

TEST_CASE("process: a watched one is known to have ended, even before it is reaped") {
  Forked child([](const Link& link) { return link.hear() == "go" ? 0 : 1; });
  const auto watched = WatchedProcess::open(child.pid());
  REQUIRE(watched);
  CHECK_FALSE(watched->has_ended());
  child.say("go");
  CHECK(test::wait_until([&] { return watched->has_ended(); }));
  CHECK(child.wait() == 0);
  CHECK(watched->has_ended());
  for (const pid_t none : {0, -1, child.pid()}) {
    const auto opened = WatchedProcess::open(none);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Errc::usage);
  }
}

TEST_CASE("process: a fork without an exec belongs to the shell above it") {
  Forked child([](const Link& link) {
    Forked grandchild([](const Link& below) {
      below.say(std::to_string(calling_shell()));
      return 0;
    });
    link.say(grandchild.hear());
    return 0;
  });
  CHECK(child.hear() == std::to_string(::getpid()));
  CHECK(calling_shell() != ::getpid());
}

TEST_CASE("process: a command line reads as it was typed") {
  CHECK_THAT(command_line_of(::getpid()), Catch::Contains("lock_tests"));
  CHECK(command_line_of(0).empty());
}

}  // namespace cachectl::lock
