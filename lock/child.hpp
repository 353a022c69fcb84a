// Child: one command that we run, wait for, and pass signals on to.
//
//   spawn --> running --wait--> ended
//
// The child gets the default actions of SIGPIPE and SIGXFSZ and the signal mask that
// we were started with. Of our own descriptors none but those named in `keep_open`
// reaches it; what we were started with passes through, as with env(1): a shell may have
// opened it for the command. Descriptors 0 to 2 must be open, on /dev/null if on nothing.
//
// Thread rules: a Child belongs to the thread that spawned it; with `die_with_parent`
// it is killed when that thread ends.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "lock/fd.hpp"
#include "lock/signals.hpp"

namespace cachectl::lock {

struct Command {
  std::vector<std::string> argv;         ///< argv[0] is looked up in PATH
  std::vector<std::string> environment;  ///< "NAME=value", added to ours
  std::string directory;                 ///< where it starts; empty: where we are
  bool null_input = false;               ///< standard input is /dev/null, not ours
  int output = -1;                       ///< becomes standard output; -1: ours
  int error = -1;                        ///< becomes standard error; -1: ours
  std::vector<int> keep_open;            ///< descriptors that survive the exec, as they are
  bool die_with_parent = false;          ///< SIGKILL when we die, however we die
  /// It leads a process group of its own, which gets all signals that are sent to it: what it
  /// has started ends with it.
  bool own_group = false;
  /// Called in the child, last of all before the exec. False, with errno: the command is
  /// not run, and spawn fails with Errc::unsupported. For programs with one thread.
  std::function<bool()> in_child;
};

/// How a process ended, in the convention of the shell.
struct ExitStatus {
  int value = 0;  ///< 0..255, or 128 + the signal that killed it
  [[nodiscard]] bool by_signal() const { return signal != 0; }
  int signal = 0;
};

class Child {
 public:
  /// Errc::not_found and Errc::not_runnable when exec says so. `mask`: the signal mask
  /// of the child; null: ours.
  [[nodiscard]] static Result<Child> spawn(const Command& command, const sigset_t* mask);

  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  /// A child that was not waited for is killed and reaped.
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// To the process, or to its group where it leads one.
  void send(int signal) const;

  /// Waits for the end, passing on the signals from `trap` (if any) meanwhile.
  [[nodiscard]] Result<ExitStatus> wait(const SignalTrap* trap);

  /// Passes on what waits in `trap`; returns the last signal that asked us to end.
  int forward(const SignalTrap& trap) const;

 private:
  Child(pid_t pid, bool leads_group) : pid_(pid), leads_group_(leads_group) {}
  pid_t pid_ = -1;
  bool leads_group_ = false;
};

/// Spawns it, passes on to it the signals that we get, and waits for its end.
[[nodiscard]] Result<ExitStatus> run_command(const Command& command);

/// The command as a person would type it into a shell.
[[nodiscard]] std::string shell_quoted(const std::vector<std::string>& argv);

}  // namespace cachectl::lock
