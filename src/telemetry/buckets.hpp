// Buckets: how durations are counted, with a known error and in a fixed number of numbers.
//
// Log-linear, as in HdrHistogram: each power of two is cut into sixteen equal parts, so that
// the middle of a bucket is off by at most 1/32 (3.1 %). The first bucket takes all below
// 1.024 us, the last all from 39 hours.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace cachectl::telemetry {

inline constexpr unsigned kFirstPower = 10;  // 2^10 ns
inline constexpr unsigned kLastPower = 47;
inline constexpr unsigned kPartBits = 4;
inline constexpr std::size_t kBuckets =
    1 + (std::size_t{kLastPower - kFirstPower} << kPartBits);  // the last part of all is open

[[nodiscard]] constexpr std::size_t bucket_of(std::chrono::nanoseconds duration) {
  if (duration.count() < (std::int64_t{1} << kFirstPower)) return 0;
  const auto value = static_cast<std::uint64_t>(duration.count());
  const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
  if (power >= kLastPower) return kBuckets - 1;
  const auto part = (value >> (power - kPartBits)) & ((1U << kPartBits) - 1);
  return 1 + ((std::size_t{power} - kFirstPower) << kPartBits) + part;
}

/// The least duration that no longer belongs to it.
[[nodiscard]] constexpr std::chrono::nanoseconds end_of_bucket(std::size_t bucket) {
  if (bucket == 0) return std::chrono::nanoseconds(std::int64_t{1} << kFirstPower);
  const auto power = kFirstPower + ((bucket - 1) >> kPartBits);
  const auto part = (bucket - 1) & ((1U << kPartBits) - 1);
  return std::chrono::nanoseconds((std::int64_t{1} << power) +
                                  (static_cast<std::int64_t>(part + 1) << (power - kPartBits)));
}

/// What was counted, at one moment.
struct Histogram {
  std::array<std::uint64_t, kBuckets> buckets{};
  std::uint64_t sum = 0;  ///< in nanoseconds

  [[nodiscard]] std::uint64_t count() const {
    return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0});
  }

  /// The duration that `part` of all do not exceed, from 0 to 1; 0 where nothing was counted.
  [[nodiscard]] std::chrono::nanoseconds quantile(double part) const {
    const auto all = count();
    if (all == 0) return std::chrono::nanoseconds(0);
    const auto wanted = std::max(1.0, part * static_cast<double>(all));
    std::uint64_t seen = 0;
    std::size_t bucket = 0;
    for (; bucket + 1 < kBuckets; ++bucket) {
      seen += buckets[bucket];
      if (static_cast<double>(seen) >= wanted) break;
    }
    const auto start = bucket == 0 ? std::chrono::nanoseconds(0) : end_of_bucket(bucket - 1);
    return start + (end_of_bucket(bucket) - start) / 2;
  }

  Histogram& operator+=(const Histogram& other) {
    for (std::size_t at = 0; at < kBuckets; ++at) buckets[at] += other.buckets[at];
    sum += other.sum;
    return *this;
  }
};

}  // namespace cachectl::telemetry
