#include "src/config/entries.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <array>

#include "src/config/duration.hpp"
#include "src/config/nearest.hpp"
#include "src/config/quoted.hpp"
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

Result<void> parse(std::optional<std::chrono::nanoseconds>& target, const EntryOption&,
                   const EntryText& text) {
  CACHECTL_ASSIGN(target, parse_duration(text.text));
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

/// The later of the two counts.
Result<void> set_ttl(EntrySettings& entry, const EntryOption& option, const EntryText& text) {
  CACHECTL_TRY(parse(entry.ttl, option, text));
  entry.strategy.clear();
  return {};
}

/// "never" would mean for ever, which nobody expects of a window.
template <auto Member>
Result<void> set_window(EntrySettings& entry, const EntryOption& option, const EntryText& text) {
  if (text.text == "never") {
    return fail(Errc::usage, "'never' is no length of a window",
                "write 0 for none, a duration such as 30d, or on-error = \"last-good\"");
  }
  return parse(entry.*Member, option, text);
}

Result<void> set_durability(EntrySettings& entry, const EntryOption& option,
                            const EntryText& text) {
  CACHECTL_ASSIGN(const std::size_t index, parse_choice(option.choices, text.text));
  entry.durable = index == 0;
  return {};
}

Result<void> set_ttl_of_status(EntrySettings& entry, const EntryOption& option,
                               const EntryText& text) {
  const auto status = parse_whole(text.member, 255);
  if (!status) {
    return fail(Errc::usage, in_quotes(text.member) + " is no exit status",
                "as in " + std::string(option.example));
  }
  CACHECTL_ASSIGN(entry.ttl_by_status[static_cast<int>(*status)], parse_duration(text.text));
  return {};
}

Result<void> set_variable(EntrySettings& entry, const EntryOption&, const EntryText& text) {
  if (text.member.empty() || text.member.find('=') != std::string::npos) {
    return fail(Errc::usage, in_quotes(text.member) + " is no name of a variable");
  }
  entry.environment[text.member] = text.text;
  return {};
}

using E = EntrySettings;

constexpr auto entry_table = std::to_array<EntryOption>({
    {"source", Type::command, "", "", &set<&E::source>, "the command that makes the value",
     R"(["curl", "-fsS", "https://example.org/prices"])"},
    {"shell", Type::boolean, "false", "", &set<&E::shell>, "the source is one text for `sh -c`"},
    {"kind", Type::choice, "bytes", "bytes|tree", &set<&E::kind>,
     "bytes: what the source prints; tree: the file or directory that it makes at "
     "$CACHECTL_OUTPUT"},
    {"environment", Type::variables, "", "", &set_variable, "variables for the source",
     R"({ LANG = "C" })"},
    {"directory", Type::path, "", "", &set<&E::directory>,
     "where the source runs; default: where cachectl does", R"("/srv/prices")"},
    {"empty", Type::choice, "value", "value|error", &set<&E::empty>,
     "what it is when the source ends with 0 and prints nothing"},
    {"not-modified", Type::status, "none", "", &set<&E::not_modified>,
     "the exit status by which the source says that the old value still holds"},
    {"ttl", Type::duration, "60s", "", &set_ttl, "how long a value is fresh"},
    {"strategy", Type::text, "", "", &set<&E::strategy>,
     "the name of a TTL, see [strategies], instead of ttl", R"("short-term")"},
    {"ttl-by-status", Type::durations, "", "", &set_ttl_of_status,
     "by the exit status of the source; a failure is not tried again for as long",
     R"({ "22" = "30s" })"},
    {"stale-while-revalidate", Type::duration, "0", "", &set_window<&E::stale_while_revalidate>,
     "for how long after its TTL a value is served at once, and made anew behind that"},
    {"stale-if-error", Type::duration, "0", "", &set_window<&E::stale_if_error>,
     "for how long after its TTL a value is served if the source fails"},
    {"expire-after-access", Type::duration, "never", "", &set<&E::expire_after_access>,
     "a value that nobody has read for this long is expired"},
    {"jitter", Type::part, "0", "", &set<&E::jitter>,
     "the part of its TTL by which a value may expire earlier, drawn for each"},
    {"beta", Type::real, "0", "", &set<&E::beta>,
     "XFetch: how eagerly a fresh value is made anew before it expires; 1 is usual, 0 never"},
    {"refresh-threshold", Type::duration, "0", "", &set<&E::refresh_threshold>,
     "within this long of its end, a value is made anew with refresh-probability"},
    {"refresh-probability", Type::part, "0", "", &set<&E::refresh_probability>,
     "how probably a read within refresh-threshold makes the value anew"},
    {"timeout", Type::duration, "", "", &set<&E::timeout>,
     "the longest wait for the lock; default: the general timeout", R"("20s")"},
    {"durability", Type::choice, "", "full|none", &set_durability,
     "default: the general durability", R"("full")"},
    {"source-timeout", Type::duration, "never", "", &set<&E::source_timeout>,
     "how long the source may run; then its process group gets SIGTERM, and 5 s later SIGKILL"},
    {"on-error", Type::choice, "stale", "fail|stale|last-good", &set<&E::on_error>,
     "if the source fails: fail, serve what is within stale-if-error, or serve whatever there is"},
    {"tiers", Type::choice, "all", "all|disk", &set<&E::tiers>,
     "where the value is kept: on this disk and on the server, or on this disk only"},
    {"coordination", Type::choice, "local", "local|fleet", &set<&E::coordination>,
     "of all who miss at once, one makes the value: on each machine, or on all that share "
     "redis.url"},
    {"retries", Type::integer, "0", "", &set<&E::retries>,
     "how often a source that failed is tried again at once"},
    {"retry-delay", Type::duration, "1s", "", &set<&E::retry_delay>,
     "the pause before the first retry; doubled for each that follows, up to 1m, half of it drawn"},
    {"breaker.failures", Type::integer, "unlimited", "", &set<&E::breaker_failures>,
     "after so many failed attempts in a row the source is left alone for a while"},
    {"breaker.cool-down", Type::duration, "30s", "", &set<&E::breaker_cool_down>,
     "for how long; then one attempt decides"},
    {"warm", Type::boolean, "false", "", &set<&E::warm>,
     "`warm --all` and the daemon make the value before somebody asks"},
    {"warm-interval", Type::duration, "", "", &set<&E::warm_interval>,
     "how often the daemon makes it anew; default: before its TTL ends", R"("10m")"},
    {"pool.size", Type::integer, "8", "", &set<&E::pool_size>,
     "how many idle replicas `gc` leaves"},
    {"pool.max", Type::integer, "8", "", &set<&E::pool_max>,
     "how many replicas there can be at once"},
    {"pool.reset", Type::choice, "dirty", "never|dirty|always", &set<&E::pool_reset>,
     "which replicas are made like new when they come back"},
    {"pool.copy", Type::choices, "auto", "auto|overlay|snapshot|reflink|hardlink|copy",
     &set<&E::pool_copy>, "the ways in which replicas may be made, by preference"},
});

}  // namespace

EntrySettings::EntrySettings() {
  for (const auto& option : entry_table) {
    if (option.default_text.empty()) continue;
    // A default that does not parse would be a bug of the table; a test reads them all.
    static_cast<void>(option.assign(*this, option, {std::string(option.default_text), {}, false}));
  }
}

std::vector<std::string> EntrySettings::command() const {
  if (!shell || source.empty()) return source;
  return {"/bin/sh", "-c", source.front()};
}

void EntrySettings::take(const EntrySettings& other) {
  for (const auto& [name, what] : other.given) {
    const auto* option = find_entry_option(what.raw.member.empty()
                                               ? std::string_view(name)
                                               : std::string_view(name).substr(0, name.find('.')));
    // It was right when it was read.
    if (option != nullptr) static_cast<void>(option->assign(*this, *option, what.raw));
    given[name] = what;
  }
}

bool is_pattern(std::string_view name) {
  return name.find_first_of("*?[") != std::string_view::npos;
}

namespace {

/// What says something about a key, the least first.
std::vector<const Entries::value_type*> sections_for(const Entries& entries, std::string_view key) {
  std::vector<const Entries::value_type*> matching;
  const std::string text(key);
  for (const auto& section : entries) {
    if (is_pattern(section.first) && ::fnmatch(section.first.c_str(), text.c_str(), 0) == 0) {
      matching.push_back(&section);
    }
  }
  std::stable_sort(matching.begin(), matching.end(), [](const auto* one, const auto* other) {
    return one->first.size() < other->first.size();
  });
  if (const auto found = entries.find(key); found != entries.end()) matching.push_back(&*found);
  return matching;
}

}  // namespace

std::string_view section_of_key(const Entries& entries, std::string_view key) {
  if (entries.empty()) return {};
  const auto matching = sections_for(entries, key);
  return matching.empty() ? std::string_view() : matching.back()->first;
}

std::optional<EntrySettings> entry_of(const Entries& entries, std::string_view key) {
  const auto matching = sections_for(entries, key);
  if (matching.empty()) return std::nullopt;
  EntrySettings result;
  for (const auto* section : matching) result.take(section->second);
  return result;
}

std::span<const EntryOption> entry_options() { return entry_table; }

const EntryOption* find_entry_option(std::string_view key) {
  const auto* found = std::find_if(entry_table.begin(), entry_table.end(),
                                   [key](const auto& o) { return o.key == key; });
  return found == entry_table.end() ? nullptr : found;
}

std::optional<std::string> nearest_entry_option(std::string_view key) {
  std::array<std::string_view, entry_table.size()> keys;
  std::transform(entry_table.begin(), entry_table.end(), keys.begin(),
                 [](const auto& o) { return o.key; });
  return nearest(key, keys);
}

bool is_entry_section(std::string_view name) {
  return std::any_of(entry_table.begin(), entry_table.end(), [name](const EntryOption& option) {
    return !name.empty() &&
           (section_of(option.key) == name || (is_table(option.type) && option.key == name));
  });
}

}  // namespace cachectl::config
