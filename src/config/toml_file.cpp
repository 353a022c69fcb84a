#include "src/config/toml_file.hpp"

#include <algorithm>
#include <cstdint>

// The distribution's CMake target asks for the shared library; one more library to load
// costs more at process start than the whole parser, so it is compiled in, here only.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

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
  return {};
}

void list(const toml::table& table, const std::string& prefix, std::vector<TomlEntry>& entries) {
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    // "run.ttl" in quotes is one key that holds a dot, and none of ours.
    const std::string shown = is_bare(name) ? std::string(name) : '"' + printable(name) + '"';
    entries.push_back(
        {prefix + shown, text_of(node), kind_of(node.type()), key.source().begin.line});
    if (prefix.empty() && node.is_table()) list(*node.as_table(), shown + '.', entries);
  }
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
    case TomlKind::array:
      return "an array";
    case TomlKind::table:
      return "a section";
  }
  return "something else";
}

Result<std::vector<TomlEntry>> parse_toml(std::string_view text, std::string_view path) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(Errc::config, std::string(path) + ':' + std::to_string(error.source().begin.line) +
                                  ": " + std::string(error.description()));
  }
  std::vector<TomlEntry> entries;
  list(parsed.table(), {}, entries);
  std::stable_sort(entries.begin(), entries.end(),
                   [](const TomlEntry& a, const TomlEntry& b) { return a.line < b.line; });
  return entries;
}

}  // namespace cachectl::config
