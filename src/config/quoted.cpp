#include "src/config/quoted.hpp"

#include <cstddef>

namespace cachectl::config {

namespace {
constexpr std::size_t longest = 80;
}

std::string printable(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string shown;
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
    } else {
      shown += "\\x";
      shown += hex[byte >> 4U];
      shown += hex[byte & 0xfU];
    }
  }
  if (text.size() > longest) shown += "...";
  return shown;
}

std::string quoted(std::string_view text) { return '\'' + printable(text) + '\''; }

}  // namespace cachectl::config
