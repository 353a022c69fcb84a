// Lock rows: who holds what and who waits for it, as lines of a table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/status/status.hpp"

namespace cachectl::cli {

[[nodiscard]] std::string_view mode_of(lock::Mode mode);

/// "1234 make -j4", escaped; "unknown".
[[nodiscard]] std::string who(const status::Process& process);

inline constexpr std::string_view kLockHeading =
    "LOCK                       MODE         SINCE  BY";

/// A lock and those who wait for it. Escaped, and cut to `width` columns.
[[nodiscard]] std::vector<std::string> lock_rows(const status::Lock& lock, WallTime now,
                                                 std::size_t width);

}  // namespace cachectl::cli
