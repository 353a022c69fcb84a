// Which bytes of a file somebody else has locked, found out without locking any.
#pragma once

#include <optional>
#include <string_view>

#include "lock/file_lock.hpp"

namespace cachectl::lock {

/// A lock on a part of `range` that another open file description than `descriptor`'s holds,
/// shared or exclusive; nullopt: there is none. Of several it is any. `file` is its name for
/// messages.
[[nodiscard]] Result<std::optional<Range>> locked_by_others(int descriptor, Range range,
                                                            std::string_view file);

}  // namespace cachectl::lock
