#include "lock/file_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using std::chrono::milliseconds;
using test::Forked;
using test::Link;
using test::TempDirectory;

constexpr Range kByte{7, 1};
constexpr Range kOtherByte{8, 1};

FileLock open_lock(const std::string& path) {
  return FileLock(Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)), path);
}

/// Tries without waiting: "held", "busy" or the error.
std::string attempt(FileLock& lock, Range range, Mode mode) {
  const auto held = lock.lock(range, mode, Deadline::immediately());
  if (!held) return held.error().describe();
  return *held ? "held" : "busy";
}

/// A process that holds the range until told "go", or for ever.
Forked hold(const std::string& path, Range range, Mode mode) {
  Forked holder([&](const Link& link) {
    auto lock = open_lock(path);
    link.say(attempt(lock, range, mode));
    return link.hear() == "go" ? 0 : 1;
  });
  CHECK(holder.hear() == "held");
  return holder;
}

}  // namespace

TEST_CASE("file lock: an exclusive holder in another process excludes everybody") {
  const TempDirectory directory;
  auto holder = hold(directory.file("lock"), kByte, Mode::exclusive);
  auto lock = open_lock(directory.file("lock"));
  CHECK(attempt(lock, kByte, Mode::exclusive) == "busy");
  CHECK(attempt(lock, kByte, Mode::shared) == "busy");
  holder.say("go");
  CHECK(holder.wait() == 0);
  CHECK(attempt(lock, kByte, Mode::exclusive) == "held");
}

TEST_CASE("file lock: shared holders coexist and exclude an exclusive one") {
  const TempDirectory directory;
  auto holder = hold(directory.file("lock"), kByte, Mode::shared);
  auto lock = open_lock(directory.file("lock"));
  CHECK(attempt(lock, kByte, Mode::exclusive) == "busy");
  CHECK(attempt(lock, kByte, Mode::shared) == "held");
  REQUIRE(lock.unlock(kByte));
  holder.kill();
  CHECK(attempt(lock, kByte, Mode::exclusive) == "held");
}

}  // namespace cachectl::lock
