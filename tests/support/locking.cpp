#include "tests/support/locking.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <stdexcept>

namespace cachectl::test {

using lock::Deadline;
using lock::FileLock;
using lock::HeldLock;
using lock::LockTable;
using lock::Mode;
using lock::Range;
using lock::Slot;

SharedCounter::SharedCounter() {
  void* memory = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap");
  value_ = new (memory) std::atomic<int>(0);
}

SharedCounter::~SharedCounter() { ::munmap(value_, sizeof(std::atomic<int>)); }

void SharedCounter::increment() const {
  const int before = value_->load();
  ::usleep(50);
  value_->store(before + 1);
}

FileLock open_lock(const std::string& path) {
  lock::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) throw std::runtime_error("open " + path);
  return FileLock(std::move(fd), path);
}

std::string attempt(FileLock& lock, Range range, Mode mode, const Deadline& deadline) {
  const auto held = lock.lock(range, mode, deadline);
  if (!held) return held.error().describe();
  return *held ? "held" : "busy";
}

std::string attempt(const LockTable& table, Slot slot, Mode mode, const Deadline& deadline) {
  const auto held = table.acquire(slot, mode, deadline, "attempt");
  if (!held) return held.error().describe();
  return *held ? "held" : "busy";
}

HeldLock acquire(const LockTable& table, Slot slot, Mode mode, const Deadline& deadline) {
  auto held = table.acquire(slot, mode, deadline, "test");
  if (!held) throw std::runtime_error(held.error().describe());
  if (!*held) throw std::runtime_error("the lock is busy");
  return std::move(**held);
}

LockTable table_in(const lock::Directory& directory, lock::OuterLocks outer) {
  return {directory, "cache.lock", 0600, std::move(outer)};
}

Forked holder_of(const std::string& path, Range range, Mode mode) {
  return Forked([&](const Link& link) {
    auto lock = open_lock(path);
    link.say(attempt(lock, range, mode));
    return link.hear() == "go" ? 0 : 1;
  });
}

Forked holder_of(const lock::Directory& directory, Slot slot, Mode mode,
                 const std::string& command) {
  return Forked([&](const Link& link) {
    const auto held = table_in(directory).acquire(slot, mode, Deadline::after(kPatience), command);
    link.say(held && *held ? "held" : "not held");
    return link.hear() == "go" ? 0 : 1;
  });
}

}  // namespace cachectl::test
