// SignalTrap: the signals that would end us, read from a descriptor instead.
//
// For commands that have something to put right before they go: pass the signal on
// to a child, roll a staged file back. Signals that were ignored when we started
// (nohup, background jobs of a script) stay ignored.
//
// Blocks the signals in the calling thread. A program that makes threads before it
// traps signals must block them there itself.
#pragma once

#include <signal.h>

#include <initializer_list>
#include <optional>

#include "lock/fd.hpp"

namespace cachectl::lock {

struct Caught {
  int signal = 0;
  /// Sent by the kernel, as for Ctrl-C: the whole foreground process group has it
  /// already, so passing it on would deliver it twice.
  bool from_kernel = false;
};

class SignalTrap {
 public:
  /// Traps HUP, INT, QUIT, TERM, USR1 and USR2.
  [[nodiscard]] static Result<SignalTrap> create();
  /// Traps these instead.
  [[nodiscard]] static Result<SignalTrap> create(std::initializer_list<int> signals);
  SignalTrap(SignalTrap&& other) noexcept;
  SignalTrap& operator=(SignalTrap&&) = delete;
  ~SignalTrap();

  /// Readable when a signal is waiting.
  [[nodiscard]] int descriptor() const { return fd_.get(); }
  [[nodiscard]] std::optional<Caught> take() const;

  /// The mask before, for a child.
  [[nodiscard]] const sigset_t& previous_mask() const { return previous_; }

  /// The signals stay blocked when the trap is gone: for who was asked to end and puts things
  /// right, which a second request is not to cut short. die_by ends him all the same.
  void keep_blocked() { restores_ = false; }

 private:
  SignalTrap(Fd fd, const sigset_t& previous) : fd_(std::move(fd)), previous_(previous) {}
  Fd fd_;
  sigset_t previous_;
  bool restores_ = true;
};

/// While it lives, new threads of this thread start without any signal but those of their own
/// faults, which mapping_guard.hpp handles: one that has the default mask would take those that
/// somebody else has trapped, and end the process.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

/// Whether the signal ends a process that does nothing about it on purpose: HUP, INT,
/// QUIT, TERM.
[[nodiscard]] bool is_request_to_end(int signal);

/// Ends this process by the default action of `signal`, so that the caller sees the
/// true reason.
[[noreturn]] void die_by(int signal);

/// SIGPIPE and SIGXFSZ become errors of the call that met them (EPIPE, EFBIG). For the
/// main program of a command; children get the defaults back.
void ignore_write_signals();

}  // namespace cachectl::lock
