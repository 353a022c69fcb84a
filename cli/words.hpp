// Lists in one argument.
#pragma once

#include <string_view>

#include "lock/result.hpp"

namespace cachectl::cli {

/// Calls `take` with each word of "a,b,c", until it fails.
template <typename Take>
[[nodiscard]] Result<void> each_word(std::string_view list, Take take) {
  while (true) {
    const auto word = list.substr(0, list.find(','));
    CACHECTL_TRY(take(word));
    if (word.size() == list.size()) return {};
    list.remove_prefix(word.size() + 1);
  }
}

}  // namespace cachectl::cli
