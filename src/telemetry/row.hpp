// Row: what was counted of one entry, at one moment.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/telemetry/buckets.hpp"
#include "src/telemetry/counter_table.hpp"

namespace cachectl::telemetry {

struct Row {
  /// What is kept of a name; longer ones are told apart by their hashes only.
  static constexpr std::size_t kNameKept = 31 * sizeof(std::uint64_t);

  std::string name;  ///< empty: all keys that have no row of their own
  std::array<std::uint64_t, kCounters.size()> counters{};
  std::array<Histogram, kTimings.size()> timings{};

  [[nodiscard]] std::uint64_t of(Counter counter) const { return counters[index_of(counter)]; }
  [[nodiscard]] const Histogram& of(Timing timing) const { return timings[index_of(timing)]; }
  Row& operator+=(const Row& other);
};

/// Hits and stale hits of all requests, from 0 to 1; nullopt: there were none.
[[nodiscard]] std::optional<double> hit_ratio(const Row& row);
[[nodiscard]] std::uint64_t requests(const Row& row);

/// The sum of the members of a family.
[[nodiscard]] std::uint64_t sum_of(const Row& row, std::string_view family);

}  // namespace cachectl::telemetry
