#include "lock/file_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using test::attempt;
using test::Forked;
using test::holder_of;
using test::Link;
using test::open_lock;
using test::TempDirectory;

constexpr Range kByte{7, 1};
constexpr Range kOtherByte{8, 1};
constexpr Range kAll{0, 0};

/// A process that tries when asked. Forked before the test takes a lock, so that it shares
/// none with it.
class Observer {
 public:
  explicit Observer(const std::string& path)
      : process_([&](const Link& link) {
          while (true) {
            const auto mode = link.hear();
            if (mode != "exclusive" && mode != "shared") return 0;
            auto lock = open_lock(path);
            link.say(attempt(lock, kByte, mode == "shared" ? Mode::shared : Mode::exclusive));
          }
        }) {}

  /// What it gets: "held" (and released again) or "busy".
  [[nodiscard]] std::string sees(std::string_view mode) const {
    process_.say(mode);
    return process_.hear();
  }

 private:
  Forked process_;
};

}  // namespace

TEST_CASE("file lock: an exclusive holder in another process excludes everybody") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  auto lock = open_lock(directory.file("lock"));
  CHECK(attempt(lock, kByte, Mode::exclusive) == "busy");
  CHECK(attempt(lock, kByte, Mode::shared) == "busy");
  CHECK(attempt(lock, kAll, Mode::shared) == "busy");
  holder.say("go");
  CHECK(holder.wait() == 0);
  CHECK(attempt(lock, kByte, Mode::exclusive) == "held");
}

TEST_CASE("file lock: shared holders coexist and exclude an exclusive one") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::shared);
  REQUIRE(holder.hear() == "held");
  auto lock = open_lock(directory.file("lock"));
  CHECK(attempt(lock, kByte, Mode::exclusive) == "busy");
  CHECK(attempt(lock, kByte, Mode::shared) == "held");
  REQUIRE(lock.unlock(kByte));
  holder.kill();
  CHECK(attempt(lock, kByte, Mode::exclusive) == "held");
}

TEST_CASE("file lock: two holders in one process exclude each other") {
  const TempDirectory directory;
  auto first = open_lock(directory.file("lock"));
  auto second = open_lock(directory.file("lock"));
  REQUIRE(attempt(first, kByte, Mode::exclusive) == "held");
  CHECK(attempt(second, kByte, Mode::exclusive) == "busy");
  CHECK(attempt(second, kByte, Mode::shared) == "busy");
  REQUIRE(first.unlock(kByte));
  CHECK(attempt(second, kByte, Mode::shared) == "held");
  CHECK(attempt(first, kByte, Mode::shared) == "held");
  CHECK(attempt(first, kByte, Mode::shared) == "held");  // again changes nothing
}

TEST_CASE("file lock: threads of two processes that count under it lose no increment") {
  const TempDirectory directory;
  const test::SharedCounter counter;
  constexpr int kProcesses = 2;
  constexpr int kThreads = 3;
  constexpr int kRounds = 100;
  const auto count = [&] {
    for (int round = 0; round < kRounds; ++round) {
      auto lock = open_lock(directory.file("lock"));
      const auto got = attempt(lock, kByte, Mode::exclusive, Deadline::after(test::kPatience));
      if (got == "held") counter.increment();
    }
  };
  std::vector<Forked> processes;
  for (int i = 0; i < kProcesses; ++i) {
    processes.emplace_back([&](const Link&) {
      std::vector<std::thread> threads;
      for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(count);
      for (auto& thread : threads) thread.join();
      return 0;
    });
  }
  for (auto& process : processes) CHECK(process.wait() == 0);
  CHECK(counter.value() == kProcesses * kThreads * kRounds);
}

TEST_CASE("file lock: different ranges are independent where the backend has ranges") {
  const TempDirectory directory;
  auto holder = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  auto lock = open_lock(directory.file("lock"));
  CHECK(attempt(lock, kOtherByte, Mode::exclusive) == (backend.ranges ? "held" : "busy"));
}

TEST_CASE("file lock: dropping the object releases") {
  const TempDirectory directory;
  const Observer observer(directory.file("lock"));
  {
    auto lock = open_lock(directory.file("lock"));
    REQUIRE(attempt(lock, kByte, Mode::exclusive) == "held");
    CHECK(observer.sees("shared") == "busy");
  }
  CHECK(observer.sees("exclusive") == "held");
}

TEST_CASE("file lock: a moved lock is held by its new owner alone") {
  const TempDirectory directory;
  const Observer observer(directory.file("lock"));
  auto first = open_lock(directory.file("lock"));
  REQUIRE(attempt(first, kByte, Mode::exclusive) == "held");
  auto second = std::move(first);
  CHECK(observer.sees("shared") == "busy");
  second = open_lock(directory.file("other"));
  CHECK(observer.sees("exclusive") == "held");
}

TEST_CASE("file lock: a forked child that keeps the descriptor keeps the lock") {
  const TempDirectory directory;
  const auto path = directory.file("lock");
  // The middle process locks, forks the keeper and dies without a word.
  Forked middle([&](const Link& link) {
    auto lock = open_lock(path);
    link.say(attempt(lock, kByte, Mode::exclusive));
    Forked keeper([&](const Link&) {
      link.say("kept");
      return link.hear() == "go" ? 0 : 1;
    });
    ::pause();
    return 0;
  });
  REQUIRE(middle.hear() == "held");
  REQUIRE(middle.hear() == "kept");
  middle.kill();
  auto lock = open_lock(path);
  if (backend.inheritable) {
    CHECK(attempt(lock, kByte, Mode::exclusive) == "busy");
    middle.say("go");
  }
  // A record lock is the process's own: it ended with the middle one.
  CHECK(attempt(lock, kByte, Mode::exclusive,
                backend.inheritable ? Deadline::after(test::kPatience) : Deadline::immediately()) ==
        "held");
}

TEST_CASE("file lock: a forked child that opens the file anew is excluded, and let in later") {
  const TempDirectory directory;
  auto lock = open_lock(directory.file("lock"));
  REQUIRE(attempt(lock, kByte, Mode::exclusive) == "held");
  auto child = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  CHECK(child.hear() == "busy");
  REQUIRE(lock.unlock(kByte));
  auto other = holder_of(directory.file("lock"), kByte, Mode::exclusive);
  CHECK(other.hear() == "held");
}

TEST_CASE("file lock: unlocking releases for a forked child too") {
  const TempDirectory directory;
  auto lock = open_lock(directory.file("lock"));
  REQUIRE(attempt(lock, kByte, Mode::exclusive) == "held");
  Forked child([](const Link& link) { return link.hear() == "go" ? 0 : 1; });
  REQUIRE(lock.unlock(kByte));
  auto other = open_lock(directory.file("lock"));
  CHECK(attempt(other, kByte, Mode::exclusive) == "held");
  child.say("go");
  CHECK(child.wait() == 0);
}

TEST_CASE("file lock: an unrelated open and close of the file loses no lock") {
  const TempDirectory directory;
  const auto path = directory.file("lock");
  const Observer observer(path);
  auto lock = open_lock(path);
  REQUIRE(attempt(lock, kByte, Mode::exclusive) == "held");
  ::close(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  // A record lock is lost with any descriptor of the file: the backend says so.
  CHECK(observer.sees("shared") == (backend.survives_close ? "busy" : "held"));
}

TEST_CASE("file lock: another lock object that comes and goes takes no lock away") {
  const TempDirectory directory;
  const auto path = directory.file("lock");
  const Observer observer(path);
  auto lock = open_lock(path);
  REQUIRE(attempt(lock, kByte, Mode::shared) == "held");
  SECTION("one that never locked") { const auto other = open_lock(path); }
  SECTION("one that was refused") {
    auto refused = open_lock(path);
    CHECK(attempt(refused, kByte, Mode::exclusive) == "busy");
  }
  SECTION("one that shared and released") {
    auto sharer = open_lock(path);
    CHECK(attempt(sharer, kByte, Mode::shared) == "held");
    REQUIRE(sharer.unlock(kByte));
  }
  CHECK(observer.sees("exclusive") == "busy");
}

TEST_CASE("file lock: descriptors of released locks do not pile up") {
  const TempDirectory directory;
  const auto path = directory.file("lock");
  const auto open_files = [] {
    std::size_t count = 0;
    for (int fd = 0; fd < 1000; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1U : 0U;
    return count;
  };
  const auto before = open_files();
  for (int i = 0; i < 50; ++i) {
    auto lock = open_lock(path);
    auto refused = open_lock(path);
    REQUIRE(attempt(lock, kByte, Mode::exclusive) == "held");
    REQUIRE(attempt(refused, kByte, Mode::exclusive) == "busy");
  }
  CHECK(open_files() == before);
}

TEST_CASE("file lock: locking a closed descriptor is an error that names the file") {
  FileLock lock(Fd(), "/no/such/file");
  const auto held = lock.lock(kByte, Mode::exclusive, Deadline::immediately());
  REQUIRE_FALSE(held);
  CHECK_THAT(held.error().describe(), Catch::Contains("lock /no/such/file"));
}

}  // namespace cachectl::lock
