#include "src/config/quoted.hpp"

#include <cstddef>

namespace cachectl::config {

namespace {
constexpr std::size_t longest_shown = 80;
}

std::string printable(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
    } else {
      shown += "\\x";
      shown += hex[byte >> 4U];
      shown += hex[byte & 0xfU];
    }
  }
  return shown;
}

std::string in_quotes(std::string_view text) {
  const std::string_view rest = text.size() > longest_shown ? "..." : "";
  return '\'' + printable(text.substr(0, longest_shown)) + std::string(rest) + '\'';
}

}  // namespace cachectl::config
