// nearest: what the user probably meant. One judge for options, commands and keys.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cachectl::config {

/// The candidate with the fewest typing errors (a letter more, less, wrong, or two
/// swapped) between it and `word`; none when more than a third of the letters differ,
/// because a far-fetched guess is worse than no guess. The first of equals wins.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word,
                                                 std::span<const std::string_view> candidates);

/// "did you mean 'X'?", or empty: the advice of an Error.
[[nodiscard]] std::string did_you_mean(const std::optional<std::string>& guess);

}  // namespace cachectl::config
