// Counted: how numbers of the counters are shown to a person.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "src/telemetry/row.hpp"

namespace cachectl::cli {

/// Of a counter in nanoseconds.
[[nodiscard]] std::chrono::nanoseconds as_duration(std::uint64_t count);

/// Three digits: "286us", "21.4ms", "1.23s"; from a minute on "2m5s".
[[nodiscard]] std::string three_digits(std::chrono::nanoseconds duration);

/// The hits of the requests, "98.7 %"; "-" where there were none. Rounded down: what is not all
/// is not called 100 %.
[[nodiscard]] std::string hits_in_percent(const telemetry::Row& row);

/// Of a row, escaped; cut to `width` columns.
[[nodiscard]] std::string name_of_row(std::string_view name, std::size_t width);

}  // namespace cachectl::cli
