#include "src/key.hpp"

#include <xxhash.h>

#include <algorithm>

#include "lock/number.hpp"

namespace cachectl {

namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

/// Each path to an entry has 32 of them, and one after the other they take a fortieth of a hit on
/// disk: so eight at a time, a byte each.
void put_hex(char* text, std::uint64_t number) {
  for (const auto half : {number >> 32U, number & 0xFFFFFFFFU}) {
    auto digits = half;
    digits = (digits | digits << 16U) & 0x0000FFFF0000FFFFU;
    digits = (digits | digits << 8U) & 0x00FF00FF00FF00FFU;
    digits = (digits | digits << 4U) & 0x0F0F0F0F0F0F0F0FU;
    const auto letters = (digits + 0x0606060606060606U) >> 4U & 0x0101010101010101U;
    digits += 0x3030303030303030U + letters * ('a' - '0' - 10);
    for (int shift = 56; shift >= 0; shift -= 8)
      *text++ = static_cast<char>(digits >> shift & 255U);
  }
}

}  // namespace

KeyHash KeyHash::of(std::string_view bytes) {
  const auto hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

void KeyHash::append_hex(std::string& text) const {
  char digits[32];
  put_hex(digits, high);
  put_hex(digits + 16, low);
  text.append(digits, sizeof digits);
}

std::string KeyHash::hex() const {
  std::string text;
  append_hex(text);
  return text;
}

bool KeyHash::parse(std::string_view hex, KeyHash& hash) {
  return hex.size() == 32 && hex.find_first_not_of(kHexDigits) == std::string_view::npos &&
         parse_number(hex.substr(0, 16), hash.high, 16) &&
         parse_number(hex.substr(16), hash.low, 16);
}

Result<Key> Key::from(std::string bytes) {
  if (bytes.empty()) return fail(Errc::usage, "the key is empty", "a key has 1 to 4096 bytes");
  if (bytes.size() > kLongest) {
    return fail(Errc::usage, "the key has " + std::to_string(bytes.size()) + " bytes",
                "a key has 1 to 4096 bytes");
  }
  const auto hash = KeyHash::of(bytes);
  return Key(std::move(bytes), hash);
}

std::string Key::printable() const { return escaped(bytes_); }

std::size_t utf8_length(std::string_view bytes) {
  const auto at = [&](std::size_t index) {
    return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : 0U;
  };
  const auto follows = [&](std::size_t index, unsigned low = 0x80, unsigned high = 0xBF) {
    return at(index) >= low && at(index) <= high;
  };
  // Table 3-7 of the Unicode Standard, "Well-Formed UTF-8 Byte Sequences".
  const unsigned first = at(0);
  if (bytes.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

namespace {

/// Whether a character makes a terminal show what follows in another order: U+200E, U+200F,
/// U+202A to U+202E and U+2066 to U+2069.
bool turns_text(std::string_view character) {
  if (character.size() != 3 || character[0] != '\xe2') return false;
  const auto last = static_cast<unsigned char>(character[2]);
  if (character[1] == '\x80') return last == 0x8E || last == 0x8F || (last >= 0xAA && last <= 0xAE);
  return character[1] == '\x81' && last >= 0xA6 && last <= 0xA9;
}

}  // namespace

std::string escaped(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto length = utf8_length(bytes);
    const auto first = static_cast<unsigned char>(bytes[0]);
    // U+0080 to U+009F are control characters too, and terminals obey some of them.
    const bool c1 = length == 2 && first == 0xC2 && static_cast<unsigned char>(bytes[1]) < 0xA0;
    const std::size_t taken = length == 0 ? 1 : length;
    const bool turns = turns_text(bytes.substr(0, length));
    if (first == '\n') {
      text += "\\n";
    } else if (first == '\t') {
      text += "\\t";
    } else if (first == '\\') {
      text += "\\\\";
    } else if (length == 0 || first < 0x20 || first == 0x7F || c1 || turns) {
      for (const char byte : bytes.substr(0, taken)) {
        text += "\\x";
        text += kHexDigits[static_cast<unsigned char>(byte) >> 4U];
        text += kHexDigits[static_cast<unsigned char>(byte) & 15U];
      }
    } else {
      text += bytes.substr(0, taken);
    }
    bytes.remove_prefix(taken);
  }
  return text;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const auto backslash = std::min(text.find('\\'), text.size());
    bytes += text.substr(0, backslash);
    text.remove_prefix(backslash);
    if (text.empty()) break;
    const char kind = text.size() < 2 ? '\0' : text[1];
    std::size_t taken = 2;
    if (kind == 'n') {
      bytes += '\n';
    } else if (kind == 't') {
      bytes += '\t';
    } else if (kind == '\\') {
      bytes += '\\';
    } else if (unsigned char value = 0;
               kind == 'x' && text.size() >= 4 && parse_number(text.substr(2, 2), value, 16)) {
      bytes += static_cast<char>(value);
      taken = 4;
    } else {
      return std::nullopt;
    }
    text.remove_prefix(taken);
  }
  return bytes;
}

}  // namespace cachectl
