// Key: the name of an entry, any byte string of 1 to 4096 bytes.
//
// A key never becomes part of a path: its hash does. So `../../etc/passwd`, a newline
// or a byte that is no UTF-8 are keys as good as any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl {

/// XXH3-128 of the key. Not cryptographic: records hold the full key, and a collision
/// is a miss, not a wrong answer.
struct KeyHash {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  [[nodiscard]] static KeyHash of(std::string_view bytes);
  /// 32 lower-case hexadecimal digits.
  [[nodiscard]] std::string hex() const;
  void append_hex(std::string& text) const;
  [[nodiscard]] static bool parse(std::string_view hex, KeyHash& hash);
  bool operator==(const KeyHash&) const = default;
};

class Key {
 public:
  static constexpr std::size_t kLongest = 4096;

  /// Errc::usage when it is empty or too long.
  [[nodiscard]] static Result<Key> from(std::string bytes);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] const KeyHash& hash() const { return hash_; }
  /// For people: see escaped().
  [[nodiscard]] std::string printable() const;

 private:
  Key(std::string bytes, KeyHash hash) : bytes_(std::move(bytes)), hash_(hash) {}
  std::string bytes_;
  KeyHash hash_;
};

/// Safe to print on a terminal and on one line: control characters, backslashes and
/// bytes that are no UTF-8 become \n, \t, \\ or \xNN; the rest stays as it is.
[[nodiscard]] std::string escaped(std::string_view bytes);

/// The bytes again; nullopt: escaped() does not write such text.
[[nodiscard]] std::optional<std::string> unescaped(std::string_view text);

/// Length of the valid UTF-8 sequence at the start of `bytes`; 0 when there is none.
/// Overlong forms, surrogates and values above U+10FFFF are not valid.
[[nodiscard]] std::size_t utf8_length(std::string_view bytes);
[[nodiscard]] bool is_utf8(std::string_view bytes);

}  // namespace cachectl
