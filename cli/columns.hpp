// Columns: what fits into a line of a terminal.
#pragma once

#include <chrono>
#include <string>

namespace cachectl::cli {

/// Of the terminal; 80 where that is not known, or it is none.
[[nodiscard]] std::size_t columns_of(int descriptor);

/// No longer than so many characters, with an ellipsis where something is left out. Of
/// escaped text.
[[nodiscard]] std::string cut(const std::string& text, std::size_t width);

/// A duration in whole seconds; "0s" for less, and for what is over.
[[nodiscard]] std::string short_form(std::chrono::nanoseconds duration);

}  // namespace cachectl::cli
