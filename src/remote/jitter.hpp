// Jitter: growing pauses of which half is drawn at random, so that processes which failed
// together do not come back together.
#pragma once

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace cachectl::remote {

/// From half of `pause` up to all of it.
[[nodiscard]] inline std::chrono::nanoseconds jittered(std::chrono::nanoseconds pause) {
  std::uint32_t random = 0;
  // Without a random source there is no jitter, and no harm.
  static_cast<void>(::getrandom(&random, sizeof random, 0));
  const auto half = pause / 2;
  return half + std::chrono::nanoseconds(static_cast<std::int64_t>(
                    static_cast<double>(half.count()) * (random / 4294967296.0)));
}

/// `first`, doubled `times` times, and no longer than `longest`.
[[nodiscard]] constexpr std::chrono::nanoseconds doubled(std::chrono::nanoseconds first,
                                                         std::uint64_t times,
                                                         std::chrono::nanoseconds longest) {
  for (; times > 0 && first < longest; --times) first *= 2;
  return std::min(first, longest);
}

}  // namespace cachectl::remote
