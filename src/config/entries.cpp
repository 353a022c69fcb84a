#include "src/config/entries.hpp"

#include <algorithm>
#include <array>

#include "src/config/nearest.hpp"
#include "src/config/value.hpp"

namespace cachectl::config {

namespace {

Result<void> parse(std::vector<std::string>& target, const EntryOption&, const EntryText& text) {
  target = text.is_array ? text.elements : std::vector<std::string>{text.text};
  if (target.empty() || target.front().empty()) {
    return fail(Errc::usage, "names no command", "write [\"command\", \"argument\"]");
  }
  return {};
}

Result<void> parse(std::optional<int>& target, const EntryOption&, const EntryText& text) {
  CACHECTL_ASSIGN(target, parse_status(text.text));
  return {};
}

/// "auto", one way, or a list of ways.
Result<void> parse(std::vector<Way>& target, const EntryOption& option, const EntryText& text) {
  const auto words = text.is_array ? text.elements : std::vector<std::string>{text.text};
  if (words.empty()) return fail(Errc::usage, "names no way", "write one, or \"auto\"");
  target.clear();
  for (const auto& word : words) {
    CACHECTL_ASSIGN(const std::size_t index, parse_choice(option.choices, word));
    if (index == 0 && words.size() > 1) return fail(Errc::usage, "'auto' stands alone");
    if (index == 0) return {};
    const auto way = static_cast<Way>(index - 1);
    if (std::find(target.begin(), target.end(), way) != target.end()) {
      return fail(Errc::usage, "names '" + word + "' twice");
    }
    target.push_back(way);
  }
  return {};
}

template <typename Value>
Result<void> parse(Value& target, const EntryOption& option, const EntryText& text) {
  return parse_value(target, option.type, option.choices, text.text);
}

template <auto Member>
Result<void> set(EntrySettings& entry, const EntryOption& option, const EntryText& text) {
  return parse(entry.*Member, option, text);
}

constexpr std::array<EntryOption, 9> table{{
    {"source", Type::command, "", "", &set<&EntrySettings::source>,
     "the command that makes the value: [\"curl\", \"-fsS\", \"https://example.org/prices\"]"},
    {"shell", Type::boolean, "false", "", &set<&EntrySettings::shell>,
     "the source is one text for `sh -c`"},
    {"kind", Type::choice, "bytes", "bytes|tree", &set<&EntrySettings::kind>,
     "bytes: what the source prints; tree: the file or directory that it makes at "
     "$CACHECTL_OUTPUT"},
    {"ttl", Type::duration, "60s", "", &set<&EntrySettings::ttl>, "how long a value is fresh"},
    {"not-modified", Type::status, "none", "", &set<&EntrySettings::not_modified>,
     "the exit status by which the source says that the old value still holds"},
    {"pool.size", Type::integer, "8", "", &set<&EntrySettings::pool_size>,
     "how many idle replicas `gc` leaves"},
    {"pool.max", Type::integer, "8", "", &set<&EntrySettings::pool_max>,
     "how many replicas there can be at once"},
    {"pool.reset", Type::choice, "dirty", "never|dirty|always", &set<&EntrySettings::pool_reset>,
     "which replicas are made like new when they come back"},
    {"pool.copy", Type::choices, "auto", "auto|overlay|reflink|hardlink|copy",
     &set<&EntrySettings::pool_copy>, "the ways in which replicas may be made, by preference"},
}};

}  // namespace

EntrySettings::EntrySettings() {
  for (const auto& option : table) {
    if (option.type == Type::command) continue;
    // A default that does not parse would be a bug of the table; a test reads them all.
    static_cast<void>(option.assign(*this, option, {std::string(option.default_text), {}, false}));
  }
}

std::vector<std::string> EntrySettings::command() const {
  if (!shell || source.empty()) return source;
  return {"/bin/sh", "-c", source.front()};
}

std::span<const EntryOption> entry_options() { return table; }

const EntryOption* find_entry_option(std::string_view key) {
  const auto* found =
      std::find_if(table.begin(), table.end(), [key](const auto& o) { return o.key == key; });
  return found == table.end() ? nullptr : found;
}

std::optional<std::string> nearest_entry_option(std::string_view key) {
  std::array<std::string_view, table.size()> keys;
  std::transform(table.begin(), table.end(), keys.begin(), [](const auto& o) { return o.key; });
  return nearest(key, keys);
}

bool is_entry_section(std::string_view name) {
  return std::any_of(table.begin(), table.end(), [name](const EntryOption& option) {
    return !name.empty() && section_of(option.key) == name;
  });
}

}  // namespace cachectl::config
