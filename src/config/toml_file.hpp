// The TOML dialect of a configuration file as a flat list, with lines.
//
// The only door to toml++: nothing of it shows here, and nothing of it runs unless a
// file exists. Errors are Errc::config, "path:line: why".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lock/result.hpp"

namespace cachectl::config {

/// `strings`: an array of nothing else; `array`: any other.
enum class TomlKind { string, integer, boolean, real, date_or_time, strings, array, table };

/// "a string", "an array": for messages.
[[nodiscard]] std::string_view describe(TomlKind kind);

struct TomlEntry {
  std::string key;   ///< dotted; a component that is not a bare TOML key stands in quotes
  std::string text;  ///< of a string, number or boolean; else empty
  TomlKind kind;
  unsigned line;
  std::vector<std::string> path;      ///< the components of the key as they are
  std::vector<std::string> elements;  ///< of an array of strings
};

/// The entries in the order of their lines: each table before what is in it. Tables
/// inside a section are listed and not entered, except those below [entries] and those that
/// options live in.
[[nodiscard]] Result<std::vector<TomlEntry>> parse_toml(std::string_view text,
                                                        std::string_view path);

}  // namespace cachectl::config
