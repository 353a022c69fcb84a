#include "src/config/toml_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

// The distribution's CMake target asks for the shared library; one more library to load
// costs more at process start than the whole parser, so it is compiled in, here only.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "src/config/options.hpp"
#include "src/config/quoted.hpp"

namespace cachectl::config {

namespace {

bool is_bare(std::string_view key) {
  const auto bare = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !key.empty() && std::all_of(key.begin(), key.end(), bare);
}

TomlKind kind_of(toml::node_type type) {
  switch (type) {
    case toml::node_type::string:
      return TomlKind::string;
    case toml::node_type::integer:
      return TomlKind::integer;
    case toml::node_type::boolean:
      return TomlKind::boolean;
    case toml::node_type::floating_point:
      return TomlKind::real;
    case toml::node_type::array:
      return TomlKind::array;
    case toml::node_type::table:
      return TomlKind::table;
    default:
      return TomlKind::date_or_time;
  }
}

std::string text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* truth = node.as_boolean()) return truth->get() ? "true" : "false";
  if (const auto* real = node.as_floating_point()) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.begin(), digits.end(), real->get()).ptr;
    return {digits.begin(), end};
  }
  return {};
}

/// Of an array of strings; nothing of any other.
std::optional<std::vector<std::string>> strings_of(const toml::node& node) {
  const auto* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> elements;
  for (const auto& element : *array) {
    const auto* text = element.as_string();
    if (text == nullptr) return std::nullopt;
    elements.push_back(text->get());
  }
  return elements;
}

/// [entries.NAME.pool] is the deepest.
constexpr std::size_t kDeepest = 4;

bool is_entered(const std::vector<std::string>& path, std::string_view key) {
  return path.size() == 1 || is_section(key) ||
         (path.size() < kDeepest && path.front() == "entries");
}

void list(const toml::table& of, const std::string& prefix, const std::vector<std::string>& above,
          std::vector<TomlEntry>& entries) {
  for (const auto& [key, node] : of) {
    const std::string_view name = key.str();
    // "run.ttl" in quotes is one key that holds a dot, and none of ours.
    const std::string shown = is_bare(name) ? std::string(name) : '"' + printable(name) + '"';
    auto names = above;
    names.emplace_back(name);
    auto strings = strings_of(node);
    const auto kind = strings ? TomlKind::strings : kind_of(node.type());
    entries.push_back({prefix + shown, text_of(node), kind, key.source().begin.line, names,
                       std::move(strings).value_or(std::vector<std::string>())});
    if (node.is_table() && is_entered(names, prefix + shown)) {
      list(*node.as_table(), prefix + shown + '.', names, entries);
    }
  }
}

// The parser and the destructors of toml++ recurse once for each dot of a key, without a limit.
constexpr std::size_t most_dots = 1024;

/// The dots of all lines but whole-line comments.
std::size_t count_dots(std::string_view text) {
  std::size_t dots = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos || line[first] == '#') continue;
    dots += static_cast<std::size_t>(std::count(line.begin(), line.end(), '.'));
  }
  return dots;
}

tl::unexpected<Error> refuse(const toml::parse_error& error, std::string_view path) {
  const std::string_view why = error.description();
  // What an unquoted 30s, 10M, full or ~/cache runs into.
  const bool value = why.find("integer") != std::string_view::npos ||
                     why.find("value") != std::string_view::npos ||
                     why.find("boolean") != std::string_view::npos ||
                     why.find("floating") != std::string_view::npos;
  return fail(Errc::config,
              std::string(path) + ':' + std::to_string(error.source().begin.line) +
                  ": not TOML: " + printable(why),
              value ? "text values stand in quotes: \"30s\"" : "");
}

}  // namespace

std::string_view describe(TomlKind kind) {
  switch (kind) {
    case TomlKind::string:
      return "a string";
    case TomlKind::integer:
      return "an integer";
    case TomlKind::boolean:
      return "a boolean";
    case TomlKind::real:
      return "a real number";
    case TomlKind::date_or_time:
      return "a date or time";
    case TomlKind::strings:
    case TomlKind::array:
      return "an array";
    case TomlKind::table:
      return "a section";
  }
  return "something else";
}

Result<std::vector<TomlEntry>> parse_toml(std::string_view text, std::string_view path) {
  if (count_dots(text) > most_dots) {
    return fail(Errc::config, std::string(path) + ": too many dots for a configuration file");
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) return refuse(parsed.error(), path);
  std::vector<TomlEntry> entries;
  list(parsed.table(), {}, {}, entries);
  std::stable_sort(entries.begin(), entries.end(),
                   [](const TomlEntry& a, const TomlEntry& b) { return a.line < b.line; });
  return entries;
}

}  // namespace cachectl::config
