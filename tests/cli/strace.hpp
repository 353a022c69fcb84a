// Sends a command through strace: what system calls it makes, and what becomes of it when
// one of them fails, or when the process is killed or stopped there.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/cli/support.hpp"

namespace cachectl::test {

/// The `occurrence`-th call of that name (from 1), as strace counts them.
struct Call {
  std::string name;
  int occurrence = 0;
  bool last = false;  ///< there is no later one
  [[nodiscard]] std::string describe() const { return name + " " + std::to_string(occurrence); }
};

/// False, with a warning: strace is not there, may not trace, or does not go with the
/// sanitizer of this build.
[[nodiscard]] bool can_trace(const Sandbox& sandbox);

/// The calls that the main thread makes from the first statement of main to the end. What
/// the loader and the start-up code do before is not ours.
[[nodiscard]] std::vector<Call> calls_of(const Sandbox& sandbox, const Program& program);

/// `what` as strace has it: "error=EIO" or "signal=KILL". Only the main thread is traced:
/// not the source, nor other threads.
[[nodiscard]] Program injected(const Sandbox& sandbox, const Program& program, const Call& call,
                               const std::string& what);

/// Whether the last injected() program came so far as to meet the injection.
[[nodiscard]] bool was_injected(const Sandbox& sandbox);

/// A strace that injects into one thread of a process that runs already; returns once it
/// is attached. `call.occurrence` counts from then.
[[nodiscard]] Running inject_into_thread(const Sandbox& sandbox, pid_t thread, const Call& call,
                                         const std::string& what);

/// Waits until the program under strace was stopped by the injection; nullopt: it ended
/// without meeting it.
[[nodiscard]] std::optional<pid_t> stopped_below(const Sandbox& sandbox, const Running& strace);

}  // namespace cachectl::test
