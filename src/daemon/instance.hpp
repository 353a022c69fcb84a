// Instance: at most one daemon for a directory, by a lock on a file of its own there.
//
// Not in cache.lock: `cachectl lock` takes all of that. As everywhere, the kernel's lock is
// the truth; the text in the file ("pid 812, since 2026-11-21T22:41:00Z") is for people.
// The file stays when the daemon ends, as a lock file that is removed protects nothing.
//
// Thread rules: belongs to one thread. A forked child must close `descriptor`, or it would
// share the lock.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "lock/directory.hpp"
#include "lock/file_lock.hpp"

namespace cachectl::daemon {

class Instance {
 public:
  static constexpr const char* kFile = "daemon.lock";

  /// Errc::refused, with what is known of the other one: there is one.
  [[nodiscard]] static Result<Instance> claim(const lock::Directory& directory, mode_t mode);

  /// Whether `directory`, opened anew, still has the file that is locked: somebody may have
  /// removed all of the cache.
  [[nodiscard]] bool holds(const lock::Directory& directory) const;

  /// Of the one that runs: what its note says of it; it may say nothing.
  struct Other {
    pid_t pid = 0;      ///< 0: not known
    std::string since;  ///< "2026-11-21T22:41:00Z"
  };
  /// nullopt: none runs.
  [[nodiscard]] static Result<std::optional<Other>> find(const lock::Directory& directory);

 private:
  explicit Instance(lock::FileLock file) : file_(std::move(file)) {}
  lock::FileLock file_;
};

}  // namespace cachectl::daemon
