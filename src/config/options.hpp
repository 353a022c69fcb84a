// The options of cachectl: the one table that declares each of them once.
//
// Parsing, `config show`, the example file and the reference page all come from it.
// Constant data: costs nothing at process start, safe from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/choices.hpp"

namespace cachectl::config {

struct Settings;
enum class Durability;
enum class LogLevel;
enum class LogFormat;

enum class Type {
  duration,
  size,
  integer,
  real,  ///< not negative
  part,  ///< from 0 to 1, also as "10%"
  boolean,
  path,
  text,
  texts,  ///< a list; outside of a file separated by commas
  choice,
  choices,
  status,
  command,
  durations,  ///< a table from exit statuses to durations
  variables,  ///< a table from names to texts
};

/// A table of its own, whose members are not known beforehand.
[[nodiscard]] constexpr bool is_table(Type type) {
  return type == Type::durations || type == Type::variables;
}

/// Which values of its type an option takes.
enum class Range {
  any,
  positive,  ///< at least 1
  wait,      ///< from 1ms to 1h
};

/// Where the value of an option lives.
using Field = std::variant<std::chrono::nanoseconds Settings::*, std::uint64_t Settings::*,
                           bool Settings::*, std::string Settings::*, Durability Settings::*,
                           OnTimeout Settings::*, LogLevel Settings::*, LogFormat Settings::*>;

struct Option {
  std::string_view key;  ///< dotted, as in a file: "run.ttl"
  Type type;
  std::string_view default_text;
  const char* environment;   ///< the variable's name
  std::string_view choices;  ///< "full|none", in the order of the enumerators; else empty
  Field field;
  std::string_view doc;  ///< one line, no full stop
  Range range = Range::any;
};

inline constexpr std::size_t option_count = 34;

/// Every option; those without a section first, then section by section.
[[nodiscard]] std::span<const Option, option_count> options();

/// nullptr when there is none.
[[nodiscard]] const Option* find_option(std::string_view key);

/// The position in options().
[[nodiscard]] std::size_t index_of(const Option& option);

/// "run" of "run.ttl", "redis.cluster" of "redis.cluster.seeds"; empty for an option outside the
/// sections.
[[nodiscard]] std::string_view section_of(std::string_view key);

/// "ttl" of "run.ttl".
[[nodiscard]] std::string_view name_of(std::string_view key);

/// "full" and "none" of "full|none"; empty for an option that is no choice.
[[nodiscard]] std::vector<std::string_view> choices_in(std::string_view text);
[[nodiscard]] inline std::vector<std::string_view> choices_of(const Option& option) {
  return choices_in(option.choices);
}

/// Whether some option lives in this section.
[[nodiscard]] bool is_section(std::string_view name);

/// The option that an unknown key was probably meant to be.
[[nodiscard]] std::optional<std::string> nearest_option(std::string_view key);

/// The section that an unknown one was probably meant to be.
[[nodiscard]] std::optional<std::string> nearest_section(std::string_view name);

}  // namespace cachectl::config
