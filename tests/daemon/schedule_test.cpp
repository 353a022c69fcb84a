#include "src/daemon/schedule.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

namespace cachectl::daemon {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

const Schedule::Time kStart{hours(1000)};
constexpr nanoseconds kForEver = nanoseconds::max();

/// `u` is what is drawn each time.
Schedule schedule_with(double u) {
  return Schedule([u] { return u; });
}

Schedule::Entry entry(const std::string& name, nanoseconds interval, bool has_value = false,
                      const std::string& definition = {}) {
  return {name, interval, definition, has_value};
}

/// How long until the next one is due.
nanoseconds rest(const Schedule& schedule, Schedule::Time now) {
  const auto due = schedule.next_due();
  return due ? *due - now : kForEver;
}

std::string start(Schedule& schedule, Schedule::Time now) {
  return schedule.start_next(now).value_or("(none)");
}

}  // namespace

TEST_CASE("schedule: entries without a value come first, and only they are waited for") {
  auto schedule = schedule_with(0.5);
  schedule.replace({entry("a", minutes(1), true), entry("b", minutes(1)), entry("c", minutes(1))},
                   kStart);
  CHECK_FALSE(schedule.is_ready());
  CHECK(schedule.describe() == "3 entries, 2 to be made first");
  CHECK(start(schedule, kStart) == "b");
  CHECK(start(schedule, kStart) == "c");
  CHECK(start(schedule, kStart) == "a");
  CHECK(start(schedule, kStart) == "(none)");
  CHECK_FALSE(schedule.next_due());
  schedule.succeeded("b", seconds(0), kStart);
  CHECK_FALSE(schedule.is_ready());
  schedule.failed("c", 1, kStart);
  CHECK(schedule.is_ready());
}

TEST_CASE("schedule: a value that is there is made anew at once, and nobody waits for it") {
  auto schedule = schedule_with(0.5);
  schedule.replace({entry("a", minutes(1), true)}, kStart);
  CHECK(schedule.is_ready());
  CHECK(rest(schedule, kStart) == seconds(0));
}

TEST_CASE("schedule: without entries it is ready, and nothing is ever due") {
  auto schedule = schedule_with(0.5);
  schedule.replace({}, kStart);
  CHECK(schedule.is_ready());
  CHECK_FALSE(schedule.next_due());
  CHECK(schedule.describe() == "0 entries");
}

TEST_CASE("schedule: after a success it rests for the interval, less jitter and the source") {
  struct Row {
    nanoseconds interval;
    nanoseconds took;
    double u;
    nanoseconds pause;
  };
  const auto row = GENERATE(
      Row{seconds(100), seconds(0), 1e-12, seconds(100)},  // nearly nothing drawn
      Row{seconds(100), seconds(0), 1, seconds(90)},       // a tenth at most
      Row{seconds(100), seconds(7), 1, seconds(83)},
      Row{seconds(100), seconds(20), 0.5, seconds(75)},
      Row{seconds(100), seconds(95), 1, seconds(10)},  // as long as its interval: a tenth
      Row{seconds(100), hours(9), 1, seconds(10)},     // it waited for a lock, perhaps
      Row{milliseconds(10), seconds(0), 1, seconds(1)},
      Row{nanoseconds(0), seconds(0), 1, seconds(1)}, Row{kForEver, seconds(5), 1, kForEver});
  CAPTURE(row.interval.count(), row.took.count(), row.u);
  auto schedule = schedule_with(row.u);
  schedule.replace({entry("a", row.interval)}, kStart);
  CHECK(start(schedule, kStart) == "a");
  const auto end = kStart + row.took;
  schedule.succeeded("a", row.took, end);
  const auto pause = rest(schedule, end);
  CHECK(std::abs((pause - row.pause).count()) < 1000);
  CHECK(schedule.pause("a", end).has_value() == (row.pause != kForEver));
}

TEST_CASE("schedule: failures are repeated after pauses that double, up to the interval") {
  struct Row {
    nanoseconds interval;
    double u;
    std::vector<double> pauses;  // in seconds
  };
  const auto row = GENERATE(
      Row{minutes(1), 1, {1, 2, 4, 8, 16, 32, 60, 60, 60}},
      Row{minutes(1), 1e-12, {0.5, 1, 2, 4, 8, 16, 30, 30}}, Row{seconds(3), 1, {1, 2, 3, 3}},
      Row{milliseconds(10), 1, {1, 1, 1}},
      Row{kForEver, 1, {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600}});
  auto schedule = schedule_with(row.u);
  schedule.replace({entry("a", row.interval)}, kStart);
  auto now = kStart;
  std::uint64_t failures = 0;
  for (const double expected : row.pauses) {
    CHECK(start(schedule, now) == "a");
    schedule.failed("a", 22, now);
    CHECK(schedule.failures("a") == ++failures);
    const auto pause = rest(schedule, now);
    CHECK(std::chrono::duration<double>(pause).count() == Approx(expected));
    CHECK(start(schedule, now + pause - nanoseconds(1)) == "(none)");
    now += pause;
  }
  CHECK(start(schedule, now) == "a");
  schedule.succeeded("a", seconds(0), now);
  CHECK(schedule.failures("a") == 0);
}

TEST_CASE("schedule: over a simulated day a value is never stale while its source works") {
  std::mt19937_64 random(7);
  Schedule schedule([&] { return std::uniform_real_distribution<>(0, 1)(random) + 1e-9; });
  constexpr auto kTtl = minutes(10);
  constexpr auto kTook = seconds(45);
  schedule.replace({entry("a", kTtl)}, kStart);
  auto now = kStart;
  auto expires = Schedule::Time::max();
  int runs = 0;
  while (now < kStart + hours(24)) {
    now = *schedule.next_due();
    REQUIRE(schedule.start_next(now));
    now += kTook;
    REQUIRE(now < expires);  // published before the last one ends
    expires = now + kTtl;
    schedule.succeeded("a", kTook, now);
    ++runs;
  }
  // One per 9 to 10 minutes.
  CHECK(runs >= 144);
  CHECK(runs <= 160);
}

TEST_CASE("schedule: who fails delays nobody else") {
  auto schedule = schedule_with(1);
  schedule.replace({entry("bad", minutes(1)), entry("good", minutes(1))}, kStart);
  CHECK(start(schedule, kStart) == "bad");
  CHECK(start(schedule, kStart) == "good");
  schedule.failed("bad", 22, kStart);
  schedule.succeeded("good", seconds(0), kStart);
  CHECK(rest(schedule, kStart) == seconds(1));
  CHECK(start(schedule, kStart + seconds(54)) == "bad");
  CHECK(start(schedule, kStart + seconds(54)) == "good");
}

TEST_CASE("schedule: of those that are due, the one that has waited longest goes first") {
  auto schedule = schedule_with(1);
  schedule.replace({entry("a", seconds(20)), entry("b", seconds(10))}, kStart);
  for (int each = 0; each < 2; ++each) schedule.succeeded(start(schedule, kStart), {}, kStart);
  const auto later = kStart + minutes(1);
  CHECK(start(schedule, later) == "b");
  CHECK(start(schedule, later) == "a");
}

TEST_CASE("schedule: a new configuration adds, removes and changes entries") {
  auto schedule = schedule_with(1);
  schedule.replace({entry("same", minutes(1), false, "x"), entry("changed", minutes(1), false, "x"),
                    entry("removed", minutes(1)), entry("runs", minutes(1), false, "x")},
                   kStart);
  for (int each = 0; each < 4; ++each) CHECK(schedule.start_next(kStart));
  for (const auto* name : {"same", "changed", "removed"}) schedule.succeeded(name, {}, kStart);
  const auto then = kStart + seconds(30);
  schedule.replace({entry("same", minutes(1), true, "x"), entry("changed", minutes(2), true, "y"),
                    entry("added", minutes(1)), entry("runs", minutes(1), false, "y")},
                   then);
  CHECK(schedule.size() == 4);
  CHECK_FALSE(schedule.contains("removed"));
  CHECK(start(schedule, then) == "added");
  CHECK(start(schedule, then) == "changed");
  CHECK(start(schedule, then) == "(none)");
  schedule.failed("removed", 1, then);  // ended behind our back: no matter
  // What runs by the old definition is made once more by the new one.
  schedule.succeeded("runs", {}, then);
  CHECK(start(schedule, then) == "runs");
  schedule.succeeded("runs", {}, then);
  CHECK(start(schedule, then) == "(none)");
  CHECK(rest(schedule, then) == seconds(24));  // "same", as it was
}

TEST_CASE("schedule: what another began to make lately is new enough, if by the same definition") {
  auto schedule = schedule_with(1);
  schedule.replace({entry("short", seconds(2), true, "x"), entry("once", kForEver, true, "x"),
                    entry("minute", minutes(1), true, "x")},
                   kStart);
  CHECK(schedule.new_enough("minute", kStart) == seconds(48));  // 6 s of jitter, 6 s of rest
  CHECK(schedule.new_enough("short", kStart) == milliseconds(800));
  CHECK(schedule.new_enough("once", kStart) == kForEver);
  CHECK(schedule.new_enough("unknown", kStart) == seconds(0));
  schedule.replace({entry("short", seconds(2), true, "x"), entry("once", kForEver, true, "y"),
                    entry("minute", minutes(1), true, "y")},
                   kStart);
  for (const auto passed : {seconds(0), seconds(7), seconds(48), seconds(100)}) {
    const auto now = kStart + passed;
    CHECK(schedule.new_enough("minute", now) == std::min(passed, seconds(48)));
    CHECK(schedule.new_enough("short", now) == milliseconds(800));
    CHECK(schedule.new_enough("once", now) == passed);
  }
}

TEST_CASE("schedule: a new configuration does not forget who fails") {
  auto schedule = schedule_with(1);
  schedule.replace({entry("a", minutes(1))}, kStart);
  CHECK(start(schedule, kStart) == "a");
  schedule.failed("a", 22, kStart);
  schedule.replace({entry("a", minutes(1))}, kStart);
  CHECK(schedule.failures("a") == 1);
  CHECK(rest(schedule, kStart) == seconds(1));
}

TEST_CASE("schedule: says who fails, how and how often, and not more than a line holds") {
  auto schedule = schedule_with(1);
  schedule.replace({entry("prices", hours(1)), entry("rates", hours(1))}, kStart);
  CHECK(start(schedule, kStart) == "prices");
  schedule.failed("prices", 22, kStart);
  CHECK(start(schedule, kStart) == "rates");
  schedule.succeeded("rates", {}, kStart);
  CHECK(schedule.describe() == "2 entries, 1 failing: prices (status 22, 1 time)");
  for (int each = 0; each < 2; ++each) {
    CHECK(start(schedule, kStart + minutes(5)) == "prices");
    schedule.failed("prices", 22, kStart);
  }
  CHECK(schedule.describe() == "2 entries, 1 failing: prices (status 22, 3 times)");

  std::vector<Schedule::Entry> many;
  for (char name = 'a'; name <= 'h'; ++name) many.push_back(entry(std::string(1, name), hours(1)));
  schedule.replace(many, kStart);
  while (const auto name = schedule.start_next(kStart)) schedule.failed(*name, 1, kStart);
  CHECK(schedule.describe() ==
        "8 entries, 8 failing: a (status 1, 1 time), b (status 1, 1 time), c (status 1, 1 time), "
        "d (status 1, 1 time), e (status 1, 1 time) and 3 more");
}

}  // namespace cachectl::daemon
