// Which process: a PID alone is reused, and means nothing in another PID namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace cachectl::lock {

/// A hint for people, never the truth: two processes can share all three numbers
/// when a PID is reused within one clock tick. Whether somebody owns something is
/// decided by a held lock.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;    ///< field 22 of /proc/PID/stat; 0: unknown
  std::uint64_t pid_namespace = 0;  ///< inode of /proc/PID/ns/pid; 0: unknown

  [[nodiscard]] static const ProcessIdentity& self();
  bool operator==(const ProcessIdentity&) const = default;
};

enum class Liveness { alive, gone, unknown };

/// Unknown when the process lives in another PID namespace than ours.
[[nodiscard]] Liveness liveness(const ProcessIdentity& process);

/// Field 22 of /proc/PID/stat; 0 when there is no such process.
[[nodiscard]] std::uint64_t start_ticks_of(pid_t pid);

}  // namespace cachectl::lock
