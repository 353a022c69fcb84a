// Numbers in text: the whole of it, in digits, and nothing around them.
#pragma once

#include <charconv>
#include <string_view>
#include <system_error>

namespace cachectl {

/// Whether `text` is a number that `value` can hold, which it becomes. A minus is taken where
/// the type has a sign, a plus never, and no blanks.
template <typename Number>
[[nodiscard]] bool parse_number(std::string_view text, Number& value, int base = 10) {
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, value, base);
  return error == std::errc() && last == end;
}

}  // namespace cachectl
