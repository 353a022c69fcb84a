// LockTable: many locks in one file that is never unlinked.
//
// Each name owns one byte of the file, at an offset taken from its hash, so that
// names exclude only themselves and no lock file litters the disk. The whole table
// is the whole range.
//
//   offset 0          the turnstile
//   [1, 2^58)         one byte a name; the whole table locks all of it
//   + d * 2^58        the same once more for depth d: commands that run inside a lock
//                     which covers theirs (see OuterLock) exclude each other there
//
// The turnstile keeps a whole-table locker from starving: it holds byte 0 while it
// waits, and everybody else passes through byte 0 (a shared lock, released at once)
// before waiting for a name. So newcomers queue behind it, and those before it drain.
// Only what runs inside a lock on another name (OuterLock) passes it by: who waits in
// the turnstile waits for that lock too.
//
// A thread that holds a name and acquires another of the same table, other than by an
// OuterLock, can wait for ever behind a whole-table locker: hold one at a time.
//
// Locks are OFD locks (lock/file_lock.hpp): the kernel frees them when the owner
// dies, and each acquisition opens its own description, so that threads exclude each
// other as processes do. Should somebody have replaced the lock file while we waited,
// the lock is taken again on the new one; a holder finds out by still_valid().
//
// Thread-safe: the table is const after construction.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lock/file_lock.hpp"
#include "lock/owner_note.hpp"

namespace cachectl::lock {

/// Which lock of the table.
class Slot {
 public:
  [[nodiscard]] static Slot whole() { return Slot(0); }
  [[nodiscard]] static Slot of(std::uint64_t hash) { return Slot(hash | 1); }
  [[nodiscard]] static Slot from_id(std::uint64_t id) { return Slot(id); }

  [[nodiscard]] bool is_whole() const { return id_ == 0; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] Range range(unsigned depth) const;
  /// Where the owner's note lies: 0 for the whole table, else 1 to 1023.
  [[nodiscard]] std::uint64_t note_slot() const;
  [[nodiscard]] bool covers(Slot other) const { return is_whole() || id_ == other.id_; }
  [[nodiscard]] bool overlaps(Slot other) const { return covers(other) || other.is_whole(); }

 private:
  explicit Slot(std::uint64_t id) : id_(id) {}
  std::uint64_t id_;
};

/// A lock that an ancestor process holds and has handed down as an open descriptor,
/// so that what runs inside `cachectl lock` can itself use the cache.
struct OuterLock {
  int descriptor = -1;
  unsigned depth = 0;
  Slot slot = Slot::whole();
  Mode mode = Mode::exclusive;
};

/// Outermost first. Travels in the environment as "FD:DEPTH:SLOT:MODE,…".
using OuterLocks = std::vector<OuterLock>;
[[nodiscard]] std::string encode(const OuterLocks& locks);
[[nodiscard]] Result<OuterLocks> decode_outer_locks(std::string_view text);

/// A held lock; released when it goes out of scope, for children that share it too.
/// The directory of its table must outlive it.
class HeldLock {
 public:
  HeldLock(HeldLock&& other) noexcept = default;
  HeldLock& operator=(HeldLock&& other) noexcept;
  ~HeldLock() { release(); }

  void release();

  /// Lets go without releasing: children that share the descriptor keep the lock until
  /// they have ended; without such children it is free.
  void leave_to_children();

  /// Called once we have let go, in either way. An empty one: nobody is to be told.
  void when_let_go(std::function<void()> told) { told_ = std::move(told); }

  /// Ok while the lock file that we hold is the one that others lock. Asked right
  /// before a publish, so that a lock that was lost cannot publish.
  [[nodiscard]] Result<void> still_valid() const;

  /// The descriptor that carries the lock. A child that keeps it open keeps the lock
  /// after our death, until release() or until it ends.
  [[nodiscard]] int descriptor() const { return file_->descriptor(); }

  /// Names another process as the owner in the note: one on whose behalf we took it.
  void leave_note(const ProcessIdentity& owner, std::string_view command) const;

  /// This lock and those around it, for a child that keeps the descriptors.
  [[nodiscard]] OuterLocks handed_down() const;

 private:
  friend class LockTable;
  HeldLock(FileLock file, const struct stat& identity, OuterLock self, OuterLocks outer,
           const Directory& directory, std::string name);

  std::optional<FileLock> file_;
  dev_t device_;  // which file it is, whatever its name
  ino_t inode_;
  OuterLock self_;
  OuterLocks outer_;
  const Directory* directory_;
  std::string name_;
  std::function<void()> told_;
};

class LockTable {
 public:
  /// `directory` must outlive the table and its locks. The file is created with
  /// `mode` when it is missing. `outer` are the locks of our ancestors, if any.
  LockTable(const Directory& directory, std::string name, mode_t mode, OuterLocks outer = {});

  /// The locks of our ancestors.
  [[nodiscard]] const OuterLocks& outer() const { return outer_; }

  /// Waits until the slot is locked or the deadline passes; nullopt: it passed.
  /// `command` goes into the owner note.
  ///
  /// Inside an ancestor's lock that covers the slot, the slot is locked one depth
  /// below it, after the kernel has confirmed that the ancestor still holds it
  /// (otherwise Errc::lease_lost). A slot that an ancestor's lock only overlaps could
  /// never be granted: Errc::usage at once.
  [[nodiscard]] Result<std::optional<HeldLock>> acquire(Slot slot, Mode mode,
                                                        const Deadline& deadline,
                                                        std::string_view command) const;

  /// The same on an open description that is the caller's, as the file on descriptor 9 of a
  /// shell is, and stays locked when we have ended: until release_on, or until the last
  /// descriptor of it is closed. Returns all the locks that what runs there then has,
  /// outermost first. `owner` goes into the note. Errc::usage: the descriptor is not the lock
  /// file, opened for reading and writing.
  [[nodiscard]] Result<std::optional<OuterLocks>> acquire_on(int descriptor, Slot slot, Mode mode,
                                                             const Deadline& deadline,
                                                             const ProcessIdentity& owner,
                                                             std::string_view command) const;
  /// Releases all that is locked there.
  [[nodiscard]] Result<void> release_on(int descriptor) const;

  /// Whether somebody has the slot locked, outside of any outer lock: a hint, which may be
  /// wrong by the time that it is told.
  [[nodiscard]] Result<bool> is_held(Slot slot) const;

  /// The last known owner of the slot, or of the whole table: for messages.
  [[nodiscard]] std::optional<OwnerNote> owner(Slot slot) const;

 private:
  [[nodiscard]] bool is_lent(Slot slot) const;
  [[nodiscard]] Result<FileLock> open_file() const;
  /// A descriptor of the caller's as a lock: a duplicate, which shares its description.
  [[nodiscard]] Result<FileLock> adopt(int descriptor) const;
  /// Where a slot is to be locked, given the locks of our ancestors.
  struct Place {
    unsigned depth = 0;
    bool through_turnstile = true;
  };
  [[nodiscard]] Result<Place> place_for(Slot slot, Mode mode, const FileLock& file,
                                        const struct stat& identity) const;

  const Directory* directory_;
  std::string name_;
  mode_t mode_;
  OuterLocks outer_;
};

}  // namespace cachectl::lock
