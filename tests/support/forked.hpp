// Forked: a second process for a test, with a line to it.
//
// The body runs in a forked child and must not use Catch2's assertions: it says what it
// saw, and the test checks that. Forking is for tests that have no other thread running.
#pragma once

#include <sys/types.h>

#include <functional>

#include "tests/support/link.hpp"

namespace cachectl::test {

class Forked {
 public:
  /// The exit status of the child is what `body` returns; 99: it threw.
  explicit Forked(const std::function<int(const Link&)>& body);
  /// Kills and reaps a child that was not waited for.
  ~Forked();
  Forked(Forked&& other) noexcept;
  Forked& operator=(Forked&&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  bool say(std::string_view message) const { return link_.say(message); }
  [[nodiscard]] std::string hear(std::chrono::milliseconds patience = kPatience) const {
    return link_.hear(patience);
  }
  void send(int signal) const;
  /// SIGSTOP, and returns when it has stopped.
  void stop() const;
  /// Exit status, or 128 + the signal that killed it.
  int wait();
  /// SIGKILL and wait.
  void kill();

 private:
  pid_t pid_ = -1;
  Link link_;
};

/// Waits until a process sleeps in the kernel, as one does that waits for a lock.
[[nodiscard]] bool wait_until_asleep(pid_t pid);

/// Waits until all threads of a process sleep.
[[nodiscard]] bool wait_until_all_asleep(pid_t pid);

}  // namespace cachectl::test
