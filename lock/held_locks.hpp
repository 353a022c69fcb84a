// Who has the ranges of a lock file, and who waits for them, as far as the system tells.
//
// The kernel names no owner of an open-file-description lock: the PID in /proc/locks and of
// F_OFD_GETLK is -1. But it names the locks of each descriptor, in /proc/PID/fdinfo, so the
// processes that have it are the holders (several, where children have inherited it); and
// who waits sleeps in fcntl(2) with the range that he wants, which /proc/PID/syscall shows.
//
// Both are known of processes that we may trace: our own, or all as root. Not of those of
// other users, or outside our PID namespace. The ranges and the number of those who wait
// are always known.
//
// A snapshot for people, taken without any lock: it may be wrong by the time that it is told.
#pragma once

#include <sys/types.h>

#include <string_view>
#include <vector>

#include "lock/file_lock.hpp"

namespace cachectl::lock {

struct HeldRange {
  Range range;
  Mode mode = Mode::exclusive;
  std::vector<pid_t> holders;  ///< those that are known
  unsigned waiting = 0;        ///< how many wait for it
  std::vector<pid_t> waiters;  ///< those that are known
};

/// What is locked in the open file `descriptor`, by its start. `name` is that of the file in
/// its directory. Errc::unsupported: there is no /proc.
[[nodiscard]] Result<std::vector<HeldRange>> held_ranges(int descriptor, std::string_view name);

/// Processes that have a file open that was removed from `path`: they lock another one than
/// those who come now.
[[nodiscard]] std::vector<pid_t> users_of_removed(std::string_view path);

}  // namespace cachectl::lock
