// ChangeTable: tells who keeps values in memory that they have changed on disk. Here and in
// all processes of the machine, at the price of one read of mapped memory.
//
//   ROOT/changes, 64-bit numbers in the order of this machine
//
//   page 0    magic, version, size, a random number (the epoch)
//   512 KiB   65,536 words, one for the keys of a hash: 48 bits that go up with each change,
//             16 bits that say how many changes are under way
//
// A reader takes the stamp of a key, epoch + word, before it reads the record, and keeps the
// value only with that; what it has kept is right as long as the stamp is the same:
//
//   writer   + 1 -------> rename or unlink -------> + 2^16 - 1
//   word     under way: nothing may be kept         another stamp: read the disk
//
// So a value is never served from memory after the call has returned that replaced it, and a
// writer that is killed half way leaves a word that is under way: its keys are read from disk
// until the next ChangeTable is opened at a moment when nobody writes.
//
// Only a reader that keeps values makes the file, so that where there is none, a publish pays
// for two openat(2) that fail. Who writes looks for the file before and after: one that is
// made or replaced meanwhile gets the change, too. What is left is a writer that is killed
// within the very publish during which the file is made: what was read before is then kept
// until it expires.
//
// Not a file of this kind, of another size or version: replaced by the next reader, and no
// concern of a writer. A reader asks each few milliseconds whether the file is still there in
// its length, and with each stamp whether a page of it was taken away (lock/mapped_file.hpp). To
// read it by a system call costs three times as much as the rest of a hit.
//
// Thread-safe: yes. Any number of processes may use one file.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "lock/mapped_file.hpp"
#include "src/store/root.hpp"

namespace cachectl::store {

class ChangeTable {
 public:
  static constexpr const char* kName = "changes";
  static constexpr std::size_t kSlots = 65536;
  static constexpr std::size_t kHead = 4096;
  static constexpr std::size_t kSize = kHead + kSlots * sizeof(std::uint64_t);

  /// For a reader; the file is made where it is missing, replaced where it is none. `root`
  /// must outlive it. An error: nothing may be kept in memory.
  [[nodiscard]] static Result<std::unique_ptr<ChangeTable>> open(const Root& root);

  /// What is read from disk after this call may be kept under this stamp; nullopt: it may
  /// not, as somebody is changing it.
  [[nodiscard]] std::optional<std::uint64_t> stamp(const KeyHash& hash) const;

  /// False: another file has its name, or none. Then no stamp means anything any more. Looks
  /// once in a few milliseconds.
  [[nodiscard]] bool is_current() const;

 private:
  ChangeTable(const Root& root, std::uint64_t epoch, std::unique_ptr<lock::MappedFile> mapped);
  [[nodiscard]] static Result<std::unique_ptr<ChangeTable>> map(const Root& root);
  void forget_the_dead();

  const Root* root_;
  std::uint64_t epoch_;
  std::unique_ptr<lock::MappedFile> mapped_;
  mutable std::atomic<std::int64_t> looked_{0};  // tick of the coarse clock
  mutable std::atomic<bool> is_current_{true};
};

/// A change of one key's record: from the moment before it to the moment after it. Under the
/// key's lock.
class Change {
 public:
  /// Both must outlive it.
  Change(const Root& root, const KeyHash& hash);
  ~Change();
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

 private:
  const Root* root_;
  const KeyHash* hash_;
  bool begun_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace cachectl::store
