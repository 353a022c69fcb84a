// Worker: a forked child that does one thing and says how it went.
//
// It executes no other program, so it works with what the parent has in memory. It gets the
// signal mask that the parent was started with, and of its descriptors the three standard
// streams only: nothing that is to end with the parent lives on in it, or in what it starts.
// It leads a process group and is killed when its parent dies.
//
//   start --> running --the parent reaps it--> finish
//
// For programs with one thread: it goes on after a fork.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <string>

#include "lock/fd.hpp"

namespace cachectl::daemon {

struct Outcome {
  int status = 0;      ///< 0: done
  std::string reason;  ///< of a failure, one line
};

class Worker {
 public:
  [[nodiscard]] static Result<Worker> start(const std::function<Outcome()>& work,
                                            const sigset_t& mask);

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// To the process alone, which passes it on as it sees fit.
  void ask_to_end() const;
  /// To the process and all of its group.
  void kill() const;

  /// What it has said, once it was reaped with this status of waitpid(2).
  [[nodiscard]] Outcome finish(int wait_status) const;

 private:
  Worker(pid_t pid, lock::Fd report) : pid_(pid), report_(std::move(report)) {}
  pid_t pid_;
  lock::Fd report_;
};

}  // namespace cachectl::daemon
