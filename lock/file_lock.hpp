// FileLock: advisory locks on byte ranges of one file, the only locking primitive.
//
// Two backends keep this contract; CMake chooses one (CACHECTL_LOCK_BACKEND):
//
//   ofd    Linux open-file-description locks. A lock belongs to the open
//          description: threads exclude each other as processes do, closing another
//          descriptor of the file loses nothing, a forked child that keeps the
//          descriptor keeps the lock, and the kernel frees it when the last
//          descriptor is gone, however its owner died. A timed wait sleeps in the
//          kernel.
//   boost  boost::interprocess::file_lock (a POSIX record lock) with a registry for
//          the threads of the process. Portable, and weaker where `backend` says so:
//          it locks the whole file whatever range is asked for, a timed wait polls,
//          and closing a descriptor of the file that is no FileLock's drops it.
//
// Both exclude each other across processes on the same file. Neither excludes
// flock(2). A lock is never broken by age or by a note: who holds it is decided by
// the kernel alone.
//
// Thread rules: one FileLock belongs to one thread at a time; different FileLocks on
// one file are independent, also within one process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lock/deadline.hpp"
#include "lock/directory.hpp"
#include "lock/fd.hpp"

namespace cachectl::lock {

enum class Mode { shared, exclusive };

/// Bytes [start, start + length) of a file; length 0 reaches to the end of any file.
/// The bytes need not exist.
struct Range {
  std::uint64_t start = 0;
  std::uint64_t length = 0;
  bool operator==(const Range&) const = default;
};

/// What the backend of this build can do beyond the common contract.
struct Backend {
  std::string_view name;
  bool ranges;          ///< different ranges of one file are independent
  bool survives_close;  ///< closing any other descriptor of the file loses no lock
  bool inheritable;     ///< a child that keeps the descriptor shares the lock
};
extern const Backend backend;

class FileLock {
 public:
  /// Takes over a descriptor that was opened for reading and writing. `path` is for
  /// messages.
  FileLock(Fd file, std::string path);
  FileLock(FileLock&&) noexcept;
  FileLock& operator=(FileLock&&) noexcept;
  ~FileLock();  // closes; with that the kernel releases, unless a child shares it

  /// Waits until the range is locked or the deadline passes; true: it is held.
  /// Locking a range again in the same mode changes nothing.
  [[nodiscard]] Result<bool> lock(Range range, Mode mode, const Deadline& deadline);

  /// Releases, also for children that share the description.
  [[nodiscard]] Result<void> unlock(Range range);

  [[nodiscard]] int descriptor() const { return file_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Fd file_;
  std::string path_;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cachectl::lock
