// Worker: a forked child that does one thing and says how it went.
//
// It executes no other program, so it works with what the parent has in memory. It gets the
// signal mask that is named, and is killed (SIGKILL) when its parent dies.
//
//   start --> running --it has closed its end, the parent reaps it--> finish
//
// For programs with one thread: it goes on after a fork.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "lock/fd.hpp"

namespace cachectl::lock {

/// What a worker says of its end.
struct WorkReport {
  int status = 0;    ///< of its process; 0: done
  std::string text;  ///< what came of it
};

/// How a worker lives beside its parent.
enum class Bond {
  /// In its process group, with all of its descriptors. It says what it likes: the parent is
  /// to listen.
  close,
  /// In a process group of its own, with the three standard streams, and what is named, only:
  /// nothing that is to end with the parent lives on in it, or in what it starts. What it says
  /// is cut to PIPE_BUF bytes, so that nobody has to listen before it was reaped.
  loose,
};

class Worker {
 public:
  /// What `work` throws becomes a report with status 125. `kept`: descriptors that a loose one
  /// gets besides.
  [[nodiscard]] static Result<Worker> start(const std::function<WorkReport()>& work,
                                            const sigset_t& mask, Bond bond,
                                            std::vector<int> kept = {});

  [[nodiscard]] pid_t pid() const { return pid_; }
  void send(int signal) const;
  /// SIGKILL to the process and to the group that it leads.
  void kill() const;

  /// Readable when it has said something, or has ended.
  [[nodiscard]] int descriptor() const { return pipe_.get(); }
  /// Takes some of what it has said; false at the end.
  bool listen();
  /// All that it has said, once it was reaped with this status of waitpid(2); of one that was
  /// killed, by which signal.
  [[nodiscard]] WorkReport finish(int wait_status);

 private:
  Worker(pid_t pid, Fd pipe, Bond bond) : pid_(pid), pipe_(std::move(pipe)), bond_(bond) {}
  pid_t pid_;
  Fd pipe_;
  Bond bond_;
  std::string text_;
};

}  // namespace cachectl::lock
