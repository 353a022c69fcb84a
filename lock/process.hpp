// Which process: a PID alone is reused, and means nothing in another PID namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "lock/fd.hpp"

namespace cachectl::lock {

/// A hint for people, never the truth: two processes can share all three numbers
/// when a PID is reused within one clock tick. Whether somebody owns something is
/// decided by a held lock.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;    ///< field 22 of /proc/PID/stat; 0: unknown
  std::uint64_t pid_namespace = 0;  ///< inode of /proc/PID/ns/pid; 0: unknown

  [[nodiscard]] static const ProcessIdentity& self();
  /// Of a process that lives in our PID namespace.
  [[nodiscard]] static ProcessIdentity of(pid_t pid);
  bool operator==(const ProcessIdentity&) const = default;
};

enum class Liveness { alive, gone, unknown };

/// Unknown when the process lives in another PID namespace than ours. One that has ended is
/// gone, though nobody has reaped it yet.
[[nodiscard]] Liveness liveness(const ProcessIdentity& process);

/// Field 22 of /proc/PID/stat; 0 when there is no such process.
[[nodiscard]] std::uint64_t start_ticks_of(pid_t pid);

/// What the process was started with, as a person would type it; empty when nobody knows.
[[nodiscard]] std::string command_line_of(pid_t pid);

/// The shell that called us, also from inside $(...), a pipeline or (...): those are forks
/// of the shell that have executed nothing else. So we go up from our parent while it is
/// such a fork of its own parent. The place of the arguments in memory tells: it is
/// inherited by a fork and drawn anew by each execve(2). Likewise from below what only waits for
/// us (timeout, xargs, sudo), which would end with us. Where /proc does not tell, it is our
/// parent.
[[nodiscard]] pid_t calling_shell();

/// One process, whatever becomes of its number: the descriptor is readable once it has
/// ended. Errc::usage: there is no such process; Errc::unsupported: the kernel cannot.
class WatchedProcess {
 public:
  [[nodiscard]] static Result<WatchedProcess> open(pid_t pid);

  [[nodiscard]] bool has_ended() const;
  [[nodiscard]] int descriptor() const { return descriptor_.get(); }

 private:
  explicit WatchedProcess(Fd descriptor) : descriptor_(std::move(descriptor)) {}
  Fd descriptor_;
};

}  // namespace cachectl::lock
