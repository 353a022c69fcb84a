#include "src/telemetry/row.hpp"

namespace cachectl::telemetry {

Row& Row::operator+=(const Row& other) {
  for (std::size_t at = 0; at < counters.size(); ++at) counters[at] += other.counters[at];
  for (std::size_t at = 0; at < timings.size(); ++at) timings[at] += other.timings[at];
  return *this;
}

std::uint64_t requests(const Row& row) { return sum_of(row, "requests"); }

std::optional<double> hit_ratio(const Row& row) {
  const auto all = requests(row);
  if (all == 0) return std::nullopt;
  const auto hits = row.of(Counter::hits) + row.of(Counter::stale_hits);
  return static_cast<double>(hits) / static_cast<double>(all);
}

std::uint64_t sum_of(const Row& row, std::string_view family) {
  std::uint64_t sum = 0;
  for (const auto& info : kCounters) {
    if (info.family == family) sum += row.of(info.counter);
  }
  return sum;
}

}  // namespace cachectl::telemetry
