// How a wait for a lock goes: deadlines, signals, clocks, stopped and killed holders.
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <thread>

#include "lock/child.hpp"
#include "tests/support/denied_call.hpp"
#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using std::chrono::milliseconds;
using test::attempt;
using test::Forked;
using test::holder_of;
using test::kPatience;
using test::Link;
using test::open_lock;
using test::TempDirectory;
using Clock = Deadline::Clock;

constexpr Range kByte{7, 1};

milliseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

/// The middle of several measurements: one hiccup of the machine does not count.
template <typename Measure>
milliseconds median_of(int times, Measure measure) {
  std::vector<milliseconds> results;
  for (int i = 0; i < times; ++i) results.push_back(measure());
  std::sort(results.begin(), results.end());
  return results[results.size() / 2];
}

milliseconds cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) { return time.tv_sec * 1000 + time.tv_usec / 1000; };
  return milliseconds(of(usage.ru_utime) + of(usage.ru_stime));
}

/// A process that waits for the byte and says "waiting", then what it got.
Forked waiter_for(const std::string& path, const Deadline& deadline) {
  return Forked([&](const Link& link) {
    auto lock = open_lock(path);
    link.say("waiting");
    link.say(attempt(lock, kByte, Mode::exclusive, deadline));
    return 0;
  });
}

}  // namespace

TEST_CASE("lock wait: ends within 10 ms after its deadline, and not before") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  constexpr milliseconds kWait{40};
  // What a plain sleep is late by on this machine now is not the lock's doing.
  const auto machine = median_of(7, [&] {
    const auto start = Clock::now();
    std::this_thread::sleep_for(kWait);
    return since(start) - kWait;
  });
  const auto late = median_of(7, [&] {
    auto lock = open_lock(directory.file("lock"));
    const auto start = Clock::now();
    CHECK(attempt(lock, kByte, Mode::exclusive, Deadline::after(kWait)) == "busy");
    CHECK(Clock::now() - start >= kWait);
    return since(start) - kWait;
  });
  CHECK(late <= machine + milliseconds(10));
}

TEST_CASE("lock wait: immediately does not wait") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  auto lock = open_lock(directory.file("lock"));
  const auto took = median_of(9, [&] {
    const auto start = Clock::now();
    CHECK(attempt(lock, kByte, Mode::exclusive, Deadline::immediately()) == "busy");
    return since(start);
  });
  CHECK(took <= milliseconds(2));
}

TEST_CASE("lock wait: a thread waits for another thread until the deadline") {
  const TempDirectory directory;
  auto first = open_lock(directory.file("lock"));
  REQUIRE(attempt(first, kByte, Mode::exclusive) == "held");
  auto second = open_lock(directory.file("lock"));
  const auto start = Clock::now();
  CHECK(attempt(second, kByte, Mode::exclusive, Deadline::after(milliseconds(40))) == "busy");
  CHECK(since(start) >= milliseconds(40));
  std::thread releaser([&] {
    std::this_thread::sleep_for(milliseconds(20));
    [[maybe_unused]] const auto unlocked = first.unlock(kByte);
  });
  CHECK(attempt(second, kByte, Mode::exclusive, Deadline::never()) == "held");
  releaser.join();
}

TEST_CASE("lock wait: burns no CPU") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  Forked waiter([&](const Link& link) {
    auto lock = open_lock(directory.file("lock"));
    const auto before = cpu_time();
    link.say(attempt(lock, kByte, Mode::exclusive, Deadline::after(milliseconds(800))));
    link.say(std::to_string((cpu_time() - before).count()));
    return 0;
  });
  CHECK(waiter.hear() == "busy");
  // A backend without a timed wait in the kernel polls, which costs more, but not much.
  const int percent = backend.ranges ? 5 : 15;
  CHECK(std::stoi(waiter.hear()) * 100 / 800 < percent);
}

TEST_CASE("lock wait: a storm of signals neither ends nor fails it") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  Forked waiter([&](const Link& link) {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // and no SA_RESTART
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval often{{0, 1000}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    auto lock = open_lock(directory.file("lock"));
    const auto start = Clock::now();
    link.say(attempt(lock, kByte, Mode::exclusive, Deadline::after(milliseconds(150))));
    link.say(since(start) >= milliseconds(150) ? "in time" : "early");
    link.say(attempt(lock, kByte, Mode::exclusive, Deadline::after(kPatience)));
    return 0;
  });
  CHECK(waiter.hear() == "busy");
  CHECK(waiter.hear() == "in time");
  holder.say("go");
  CHECK(waiter.hear() == "held");
}

TEST_CASE("lock wait: a wall clock that jumps moves no deadline") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  Command command;
  command.argv = {CACHECTL_WALL_CLOCK_PROBE, directory.file("lock"), "150"};
  auto probe = Child::spawn(command, nullptr);
  REQUIRE(probe);
  const auto ended = probe->wait(nullptr);
  REQUIRE(ended);
  CHECK(ended->value == 0);
}

TEST_CASE("lock wait: times out on a stopped holder and gets the lock when it is killed") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  holder.stop();
  auto impatient = waiter_for(directory.file("lock"), Deadline::after(milliseconds(60)));
  CHECK(impatient.hear() == "waiting");
  CHECK(impatient.hear() == "busy");
  auto patient = waiter_for(directory.file("lock"), Deadline::after(kPatience));
  CHECK(patient.hear() == "waiting");
  REQUIRE(test::wait_until_asleep(patient.pid()));
  const auto killed = Clock::now();
  holder.kill();
  CHECK(patient.hear() == "held");
  CHECK(since(killed) < kPatience / 4);
}

namespace {

struct Counting final : WaitObserver {
  void waiting() override {
    ++told;
    if (lock_file.empty()) return;
    // As one who shows the owner's note does: another description of the file, closed again.
    [[maybe_unused]] const auto look = open_lock(lock_file);
  }
  void waited() override { ++ended; }
  std::atomic<int> told = 0;
  int ended = 0;
  std::string lock_file = {};
};

}  // namespace

TEST_CASE("lock wait: tells its observer when it begins, once a second, and when it is over") {
  const TempDirectory directory;
  const auto path = directory.file("lock");
  auto holder = holder_of(path, kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  for (const bool has_deadline : {true, false}) {
    CAPTURE(has_deadline);
    Forked waiter([&](const Link& link) {
      auto lock = open_lock(path);
      Counting counting;
      counting.lock_file = path;
      if (has_deadline) {
        const auto start = Clock::now();
        const auto deadline = Deadline::after(milliseconds(2500)).observed_by(counting);
        link.say(attempt(lock, kByte, Mode::exclusive, deadline));
        link.say(since(start) >= milliseconds(2500) ? "in time" : "early");
      } else {
        std::thread releaser([&] {
          while (counting.told < 3) std::this_thread::sleep_for(milliseconds(10));
          link.say("waits");
        });
        link.say(attempt(lock, kByte, Mode::exclusive, Deadline::never().observed_by(counting)));
        releaser.join();
      }
      // Before the first sleep, and after one and two seconds; a busy machine may make it less.
      link.say(std::to_string(counting.told >= 2 && counting.told <= 4 ? 1 : counting.told + 10));
      link.say(std::to_string(counting.ended));
      return 0;
    });
    if (has_deadline) {
      CHECK(waiter.hear() == "busy");
      CHECK(waiter.hear() == "in time");
    } else {
      CHECK(waiter.hear() == "waits");
      holder.say("go");
      CHECK(waiter.hear() == "held");
    }
    CHECK(waiter.hear() == "1");
    CHECK(waiter.hear() == "1");
  }
}

TEST_CASE("lock wait: a lock that is free, or is only tried, tells its observer nothing") {
  const TempDirectory directory;
  auto lock = open_lock(directory.file("lock"));
  Counting counting;
  CHECK(attempt(lock, kByte, Mode::exclusive, Deadline::never().observed_by(counting)) == "held");
  auto other = open_lock(directory.file("lock"));
  CHECK(attempt(other, kByte, Mode::exclusive, Deadline::immediately().observed_by(counting)) ==
        "busy");
  CHECK(counting.told == 0);
  CHECK(counting.ended == 0);
}

TEST_CASE("lock wait: polls within its deadline where the system has no timer left") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  Forked waiter([&](const Link& link) {
    if (!test::deny_system_call(SYS_timer_create, EAGAIN)) return 77;
    const bool armed = InterruptAt(Deadline::after(milliseconds(1))).armed();
    link.say(armed ? "armed" : "no timer");
    auto lock = open_lock(directory.file("lock"));
    const auto start = Clock::now();
    link.say(attempt(lock, kByte, Mode::exclusive, Deadline::after(milliseconds(60))));
    link.say(since(start) >= milliseconds(60) ? "in time" : "early");
    link.say(attempt(lock, kByte, Mode::exclusive, Deadline::after(kPatience)));
    return 0;
  });
  CHECK(waiter.hear() == "no timer");
  CHECK(waiter.hear() == "busy");
  CHECK(waiter.hear() == "in time");
  holder.say("go");
  CHECK(waiter.hear() == "held");
}

}  // namespace cachectl::lock
