#include "lock/signals.hpp"

#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/forked.hpp"

namespace cachectl::lock {

namespace {

using test::Forked;
using test::Link;

}  // namespace

TEST_CASE("signal trap: a trapped signal is read and does not end the process") {
  auto trap = SignalTrap::create();
  REQUIRE(trap);
  CHECK_FALSE(trap->take());
  ::kill(::getpid(), SIGTERM);
  const auto caught = trap->take();
  REQUIRE(caught);
  CHECK(caught->signal == SIGTERM);
  CHECK_FALSE(caught->from_kernel);
  CHECK_FALSE(trap->take());
}

TEST_CASE("signal trap: a signal that was ignored stays ignored") {
  Forked child([](const Link& link) {
    ::signal(SIGHUP, SIG_IGN);
    auto trap = SignalTrap::create();
    ::kill(::getpid(), SIGHUP);
    link.say(!trap ? "error" : trap->take() ? "caught" : "ignored");
    return 0;
  });
  CHECK(child.hear() == "ignored");
  CHECK(child.wait() == 0);
}

TEST_CASE("signal trap: the mask is restored at the end, and what waits is delivered") {
  Forked child([](const Link&) {
    {
      auto trap = SignalTrap::create();
      ::kill(::getpid(), SIGUSR1);
    }
    return 0;
  });
  CHECK(child.wait() == 128 + SIGUSR1);
}

TEST_CASE("signal trap: kept blocked, a second request ends nobody before die_by does") {
  Forked child([](const Link& link) -> int {
    {
      auto trap = SignalTrap::create();
      ::kill(::getpid(), SIGINT);
      static_cast<void>(trap->take());
      trap->keep_blocked();
      ::kill(::getpid(), SIGTERM);
    }
    link.say("put right");
    die_by(SIGINT);
  });
  CHECK(child.hear() == "put right");
  CHECK(child.wait() == 128 + SIGINT);
}

TEST_CASE("signal trap: a moved trap still traps") {
  Forked child([](const Link&) {
    auto first = SignalTrap::create();
    const SignalTrap second(std::move(*first));
    ::kill(::getpid(), SIGINT);
    return second.take() ? 7 : 8;
  });
  CHECK(child.wait() == 7);
}

TEST_CASE("signals: dying by a signal shows that signal, even while it is blocked") {
  Forked child([](const Link&) -> int {
    auto trap = SignalTrap::create();
    die_by(SIGINT);
  });
  CHECK(child.wait() == 128 + SIGINT);
}

TEST_CASE("signals: a broken pipe is an error of the write once write signals are ignored") {
  Forked child([](const Link&) {
    ignore_write_signals();
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return 2;
    ::close(ends[0]);
    const auto written = write_all(ends[1], bytes_of("x"), "pipe");
    return !written && written.error().system_error == EPIPE ? 0 : 1;
  });
  CHECK(child.wait() == 0);
}

TEST_CASE("signals: HUP, INT, QUIT and TERM ask to end, USR1 and USR2 do not") {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) CHECK(is_request_to_end(signal));
  for (const int signal : {SIGUSR1, SIGUSR2, SIGCHLD}) CHECK_FALSE(is_request_to_end(signal));
}

}  // namespace cachectl::lock
