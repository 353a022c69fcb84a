// What the tests of locks share: opening, trying and holding, here and in another process.
#pragma once

#include <atomic>
#include <string>

#include "lock/file_lock.hpp"
#include "lock/lock_table.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

/// A number that forked processes share. Incrementing it is slow and not atomic: only under
/// a lock that excludes all others is each increment counted.
class SharedCounter {
 public:
  SharedCounter();
  ~SharedCounter();
  SharedCounter(const SharedCounter&) = delete;
  SharedCounter& operator=(const SharedCounter&) = delete;

  void increment() const;
  [[nodiscard]] int value() const { return value_->load(); }

 private:
  std::atomic<int>* value_;
};

/// Opens or creates `path` for locking; throws when it cannot.
[[nodiscard]] lock::FileLock open_lock(const std::string& path);

/// Locks: "held", "busy" when the deadline passed, or the error.
[[nodiscard]] std::string attempt(lock::FileLock& lock, lock::Range range, lock::Mode mode,
                                  const lock::Deadline& deadline = lock::Deadline::immediately());

/// A process that says "held" (or why not) and holds the range until told "go".
[[nodiscard]] Forked holder_of(const std::string& path, lock::Range range, lock::Mode mode);

/// The same for a slot of the table `name` in `directory`.
[[nodiscard]] Forked holder_of(const lock::Directory& directory, lock::Slot slot, lock::Mode mode,
                               const std::string& command = "hold");

/// Acquires and releases at once: "held", "busy" or the error.
[[nodiscard]] std::string attempt(const lock::LockTable& table, lock::Slot slot, lock::Mode mode,
                                  const lock::Deadline& deadline = lock::Deadline::immediately());

/// Acquires; throws when that fails or the deadline passes.
[[nodiscard]] lock::HeldLock acquire(
    const lock::LockTable& table, lock::Slot slot, lock::Mode mode,
    const lock::Deadline& deadline = lock::Deadline::after(kPatience));

/// The table as the cache has it.
[[nodiscard]] lock::LockTable table_in(const lock::Directory& directory,
                                       lock::OuterLocks outer = {});

}  // namespace cachectl::test
