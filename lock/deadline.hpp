// Deadline: the moment at which a wait gives up, on CLOCK_MONOTONIC.
//
// A wall clock that is set back or forward moves no deadline.
#pragma once

#include <chrono>
#include <optional>

namespace cachectl::lock {

/// Told how a wait goes, by the thread that waits: for a line that people see meanwhile. It
/// may use the file that is waited for.
class WaitObserver {
 public:
  virtual ~WaitObserver() = default;
  /// The wait begins, or goes on: about once a second.
  virtual void waiting() = 0;
  /// It is over, whatever came of it.
  virtual void waited() = 0;
};

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// Waits for as long as it takes.
  [[nodiscard]] static Deadline never() { return Deadline(std::nullopt); }
  /// Does not wait at all: try once.
  [[nodiscard]] static Deadline immediately() { return Deadline(Clock::time_point::min()); }
  /// Waits for `duration` from now; never if now + duration cannot be represented.
  [[nodiscard]] static Deadline after(std::chrono::nanoseconds duration);

  /// The same, and who waits until then tells `observer`, which must outlive it.
  [[nodiscard]] Deadline observed_by(WaitObserver& observer) const {
    Deadline observed = *this;
    observed.observer_ = &observer;
    return observed;
  }
  [[nodiscard]] WaitObserver* observer() const { return observer_; }

  [[nodiscard]] bool is_never() const { return !at_.has_value(); }
  [[nodiscard]] bool is_immediate() const { return at_ == Clock::time_point::min(); }
  [[nodiscard]] bool passed() const { return at_.has_value() && Clock::now() >= *at_; }
  /// Only when not never.
  [[nodiscard]] Clock::time_point at() const { return *at_; }

 private:
  explicit Deadline(std::optional<Clock::time_point> at) : at_(at) {}
  std::optional<Clock::time_point> at_;
  WaitObserver* observer_ = nullptr;
};

/// One wait, for who observes it. Does nothing where nobody does.
class ObservedWait {
 public:
  explicit ObservedWait(const Deadline& deadline) : deadline_(deadline) {}
  ~ObservedWait() {
    if (next_) deadline_.observer()->waited();
  }
  ObservedWait(const ObservedWait&) = delete;
  ObservedWait& operator=(const ObservedWait&) = delete;

  /// To be called before each sleep; tells the observer if it is time to.
  void goes_on();

  /// When to wake up at the latest: at the deadline, or to tell the observer; nullopt: never.
  [[nodiscard]] std::optional<Deadline::Clock::time_point> wake_up() const;

 private:
  Deadline deadline_;
  std::optional<Deadline::Clock::time_point> next_;  // nothing: it has not begun
};

/// While it lives, blocking system calls of the calling thread are interrupted
/// (EINTR) at the deadline, or when the observer is to be told, and again each 5 ms after it:
/// a signal that arrives just before the call is not lost. No helper thread, no polling, no CPU.
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

  /// To be called before each system call that blocks: tells the observer if it is time to.
  void goes_on();

 private:
  void set_timer();

  Deadline deadline_;
  ObservedWait wait_;
  std::optional<Deadline::Clock::time_point> set_for_;
  bool armed_ = false;
  std::optional<void*> timer_;  // a timer_t; the first one of a process is null
};

}  // namespace cachectl::lock
