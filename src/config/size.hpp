// Sizes in bytes and counts, as people write and read them: "10K", "1.5 MiB", "unlimited".
//
// Units are powers of 1024. "KB" is refused: half of its readers mean 1000.
// Thread-safe: no state.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::config {

/// The size or count without a limit.
inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// "512", "10K", "5M", "2G", "1T", the same with iB, or "unlimited". Errc::usage for
/// everything else, with what to write instead.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

/// A whole number or "unlimited".
[[nodiscard]] Result<std::uint64_t> parse_count(std::string_view text);

/// For people, rounded down to one decimal: "512 B", "1.5 MiB".
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/// For machines: parse_size returns the same value.
[[nodiscard]] std::string exact_size(std::uint64_t bytes);

/// parse_count returns the same value.
[[nodiscard]] std::string exact_count(std::uint64_t count);

}  // namespace cachectl::config
