#include "lock/deadline.hpp"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include <catch2/catch.hpp>
#include <thread>

namespace cachectl::lock {

namespace {

using Clock = Deadline::Clock;
using std::chrono::milliseconds;

/// Sleeps; the errno that ended the sleep, 0: nothing did.
int sleep_for(milliseconds duration) {
  timespec pause{0, static_cast<long>(std::chrono::nanoseconds(duration).count())};
  return ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
}

}  // namespace

TEST_CASE("deadline: never does not pass") {
  const auto deadline = Deadline::never();
  CHECK(deadline.is_never());
  CHECK_FALSE(deadline.passed());
  CHECK_FALSE(deadline.is_immediate());
}

TEST_CASE("deadline: immediately has passed already") {
  const auto deadline = Deadline::immediately();
  CHECK(deadline.is_immediate());
  CHECK(deadline.passed());
  CHECK_FALSE(deadline.is_never());
}

TEST_CASE("deadline: a duration passes, and not before") {
  const auto start = Clock::now();
  const auto deadline = Deadline::after(milliseconds(20));
  while (!deadline.passed()) std::this_thread::sleep_for(milliseconds(1));
  CHECK(Clock::now() - start >= milliseconds(20));
  CHECK_FALSE(deadline.is_immediate());
}

TEST_CASE("deadline: a zero or negative duration has passed and is not never") {
  CHECK(Deadline::after(milliseconds(0)).passed());
  CHECK(Deadline::after(milliseconds(-5)).passed());
}

TEST_CASE("deadline: a duration beyond the clock is never") {
  CHECK(Deadline::after(std::chrono::nanoseconds::max()).is_never());
}

TEST_CASE("interrupt: ends a blocking call at the deadline, and not before") {
  const auto start = Clock::now();
  const auto deadline = Deadline::after(milliseconds(30));
  const InterruptAt interrupt(deadline);
  REQUIRE(interrupt.armed());
  CHECK(sleep_for(milliseconds(900)) == EINTR);
  CHECK(Clock::now() - start >= milliseconds(30));
  CHECK(deadline.passed());
}

TEST_CASE("interrupt: fires again, so that a signal before the call is not lost") {
  const InterruptAt interrupt(Deadline::after(milliseconds(0)));
  REQUIRE(interrupt.armed());
  for (int i = 0; i < 5; ++i) CHECK(sleep_for(milliseconds(900)) == EINTR);
}

TEST_CASE("interrupt: works where the signal was blocked") {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  const InterruptAt interrupt(Deadline::after(milliseconds(10)));
  REQUIRE(interrupt.armed());
  CHECK(sleep_for(milliseconds(900)) == EINTR);
}

TEST_CASE("interrupt: disturbs nothing after its end") {
  // The first timer of a process is the one whose identifier is zero.
  for (int i = 0; i < 3; ++i) {
    { const InterruptAt interrupt(Deadline::after(milliseconds(0))); }
    CHECK(sleep_for(milliseconds(50)) == 0);
  }
}

TEST_CASE("interrupt: a deadline that never passes or has passed needs no timer") {
  const InterruptAt never(Deadline::never());
  const InterruptAt immediately(Deadline::immediately());
  CHECK(never.armed());
  CHECK(immediately.armed());
  CHECK(sleep_for(milliseconds(30)) == 0);
}

}  // namespace cachectl::lock
