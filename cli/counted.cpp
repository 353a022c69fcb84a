#include "cli/counted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/columns.hpp"
#include "cli/json.hpp"
#include "src/config/duration.hpp"

namespace cachectl::cli {

using std::chrono::nanoseconds;

nanoseconds as_duration(std::uint64_t count) {
  return nanoseconds(static_cast<std::int64_t>(count));
}

std::string three_digits(nanoseconds duration) {
  struct Step {
    double length;
    std::string_view unit;
  };
  constexpr std::array kSteps{Step{1e3, "us"}, Step{1e6, "ms"}, Step{1e9, "s"}};
  const auto length = static_cast<double>(duration.count());
  if (length == 0) return "0s";
  if (length >= 60e9) {
    return config::format_duration(std::chrono::floor<std::chrono::seconds>(duration));
  }
  const auto* step = &kSteps.front();
  for (const auto& each : kSteps) {
    if (length >= each.length) step = &each;
  }
  const double value = length / step->length;
  return fmt::format("{:.{}f}{}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, step->unit);
}

std::string hits_in_percent(const telemetry::Row& row) {
  const auto ratio = telemetry::hit_ratio(row);
  if (!ratio) return "-";
  // All only where it is all.
  const auto tenths = std::min(std::lround(*ratio * 1000), *ratio < 1 ? 999L : 1000L);
  return fmt::format("{:.1f} %", static_cast<double>(tenths) / 10);
}

std::string name_of_row(std::string_view name, std::size_t width) {
  return cut(name.empty() ? "(all others)" : escaped(name), width);
}

}  // namespace cachectl::cli
