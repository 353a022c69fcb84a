// Deadline: the moment at which a wait gives up, on CLOCK_MONOTONIC.
//
// A wall clock that is set back or forward moves no deadline.
#pragma once

#include <chrono>
#include <optional>

namespace cachectl::lock {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// Waits for as long as it takes.
  [[nodiscard]] static Deadline never() { return Deadline(std::nullopt); }
  /// Does not wait at all: try once.
  [[nodiscard]] static Deadline immediately() { return Deadline(Clock::time_point::min()); }
  /// Waits for `duration` from now; never if now + duration cannot be represented.
  [[nodiscard]] static Deadline after(std::chrono::nanoseconds duration);

  [[nodiscard]] bool is_never() const { return !at_.has_value(); }
  [[nodiscard]] bool is_immediate() const { return at_ == Clock::time_point::min(); }
  [[nodiscard]] bool passed() const { return at_.has_value() && Clock::now() >= *at_; }
  /// Only when not never.
  [[nodiscard]] Clock::time_point at() const { return *at_; }

 private:
  explicit Deadline(std::optional<Clock::time_point> at) : at_(at) {}
  std::optional<Clock::time_point> at_;
};

/// While it lives, blocking system calls of the calling thread are interrupted
/// (EINTR) at the deadline and again each 5 ms after it: a signal that arrives
/// just before the call is not lost. No helper thread, no polling, no CPU.
///
/// Uses one real-time signal (SIGRTMAX - 1), sent to this thread only; its handler
/// does nothing. Lives on the thread that waits and must not be moved to another.
class InterruptAt {
 public:
  explicit InterruptAt(const Deadline& deadline);
  ~InterruptAt();
  InterruptAt(const InterruptAt&) = delete;
  InterruptAt& operator=(const InterruptAt&) = delete;

  /// False when the system has no timer left: the caller must poll.
  [[nodiscard]] bool armed() const { return armed_; }

 private:
  bool armed_ = false;
  std::optional<void*> timer_;  // a timer_t; the first one of a process is null
};

}  // namespace cachectl::lock
