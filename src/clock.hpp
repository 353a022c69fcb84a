// The wall clock, passed in so that tests can turn it.
//
// Only what is stored uses it (created, expires). Waiting uses lock::Deadline, on a
// clock that nobody sets.
#pragma once

#include <chrono>
#include <ctime>

namespace cachectl {

using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

/// The far end of time: never expires. (The year 2262.)
constexpr WallTime kNever = WallTime::max();

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime now() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] WallTime now() const override { return std::chrono::system_clock::now(); }
};

/// now + duration, or kNever where that cannot be represented.
[[nodiscard]] constexpr WallTime later(WallTime now, std::chrono::nanoseconds duration) {
  const bool positive = now.time_since_epoch().count() > 0;
  return positive && duration > kNever - now ? kNever : now + duration;
}

/// A time as the file system keeps it, which may lie further off than a WallTime can say:
/// anybody may give any time to a file.
[[nodiscard]] constexpr WallTime wall_time(const timespec& time) {
  constexpr auto kLimit = std::chrono::floor<std::chrono::seconds>(kNever).time_since_epoch();
  const std::chrono::seconds seconds(time.tv_sec);
  if (seconds >= kLimit) return kNever;
  if (seconds <= -kLimit) return WallTime::min();
  return WallTime(seconds) + std::chrono::nanoseconds(time.tv_nsec);
}

/// The other way round.
[[nodiscard]] constexpr timespec file_time(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {static_cast<time_t>(seconds.time_since_epoch().count()),
          static_cast<long>((time - seconds).count())};
}

}  // namespace cachectl
