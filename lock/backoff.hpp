// Backoff: growing, jittered pauses for the places where the kernel cannot block.
#pragma once

#include <time.h>

#include <cstdint>

namespace cachectl::lock {

class Backoff {
 public:
  /// Sleeps 0.5 to 1 times the current step; steps double from 1 ms to 5 ms, so that
  /// a deadline is met within 10 ms.
  void sleep() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    // The low bits of the clock are jitter enough to keep waiters out of step.
    const long jitter = (now.tv_nsec / 16) % (step_ / 2);
    const timespec pause{0, step_ / 2 + jitter};
    ::nanosleep(&pause, nullptr);
    if (step_ < kLongest) step_ = step_ * 2 < kLongest ? step_ * 2 : kLongest;
  }

 private:
  static constexpr long kLongest = 5'000'000;
  long step_ = 1'000'000;
};

}  // namespace cachectl::lock
