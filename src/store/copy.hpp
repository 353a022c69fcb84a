// Copying a part of a file to a descriptor of any kind, with little memory.
#pragma once

#include <cstdint>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::store {

/// Copies [offset, offset + size) of `from` to `to`; blocks while `to` does. Errc::corrupt
/// when `from` is shorter.
[[nodiscard]] Result<void> copy_range(int from, std::uint64_t offset, std::uint64_t size, int to,
                                      std::string_view from_name, std::string_view to_name);

}  // namespace cachectl::store
