// Durations as people write and read them: "30s", "1h30m", "500ms", "never".
//
// A number without a unit is refused and not guessed: the same 30 is seconds to one
// reader and minutes to the next. Thread-safe: no state.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::config {

/// The duration without an end.
inline constexpr std::chrono::nanoseconds never = std::chrono::nanoseconds::max();

/// Numbers with the units w, d, h, m, s and ms, each at most once, the largest first;
/// or "0"; or "never". Errc::usage for everything else, with what to write instead.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// For people: the two largest units, rounded towards zero: "2d3h", "45s", "<1ms".
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);

/// For machines: whole milliseconds in full, so that parse_duration returns the same
/// value for every duration that it can produce.
[[nodiscard]] std::string exact_duration(std::chrono::nanoseconds duration);

}  // namespace cachectl::config
