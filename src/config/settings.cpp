#include "src/config/settings.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "src/config/nearest.hpp"
#include "src/config/paths.hpp"
#include "src/config/quoted.hpp"
#include "src/config/toml_file.hpp"
#include "src/config/value.hpp"
#include "src/key.hpp"

namespace cachectl::config {

namespace {

/// "name: why", as an error of the layer that `name` belongs to.
tl::unexpected<Error> blame(Error error, const std::string& name, Errc code) {
  error.code = code;
  return fail(std::move(error).within(name));
}

/// Sets one option, or says what is wrong with the text.
Result<void> set(Settings& settings, const Option& option, std::string_view text, Origin origin,
                 const Environment& environment) {
  std::string value(text);
  const bool is_none = text.empty() && option.default_text.empty();
  if (option.type == Type::path && !is_none) {
    CACHECTL_ASSIGN(value, origin.layer == Layer::file ? path_in_file(text, environment)
                                                       : from_working_directory(text));
  }
  CACHECTL_TRY(assign(settings, option, value));
  CACHECTL_TRY(check_range(settings, option, value));
  settings.origins[index_of(option)] = std::move(origin);
  return {};
}

/// Whether the TOML type can stand for the option's type. An integer passes as a
/// duration so that the parser can say which unit to add.
bool fits(Type type, TomlKind kind) {
  if (type == Type::boolean) return kind == TomlKind::boolean;
  if (type == Type::command || type == Type::choices || type == Type::texts) {
    return kind == TomlKind::string || kind == TomlKind::strings;
  }
  if (kind == TomlKind::string) return true;
  if ((type == Type::real || type == Type::part) && kind == TomlKind::real) return true;
  const bool number = type == Type::duration || type == Type::size || type == Type::integer ||
                      type == Type::status || type == Type::real || type == Type::part ||
                      type == Type::durations;
  return number && kind == TomlKind::integer;
}

tl::unexpected<Error> refuse_unknown(const TomlEntry& entry, const std::string& place) {
  if (entry.kind == TomlKind::table) {
    return fail(Errc::config, place + "unknown section '" + entry.key + '\'',
                did_you_mean(nearest_section(entry.key)));
  }
  return fail(Errc::config, place + "unknown key '" + entry.key + '\'',
              did_you_mean(nearest_option(entry.key)));
}

std::string as_written(const TomlEntry& entry) {
  if (entry.kind != TomlKind::strings) return entry.text;
  std::string text;
  for (const auto& element : entry.elements) {
    text += (text.empty() ? "[" : ", ") + in_quotes(element);
  }
  return text + ']';
}

/// What stands in or below [entries].
Result<void> apply_to_key(Settings& settings, const TomlEntry& entry, const std::string& path,
                          const std::string& place, const Environment& environment) {
  const bool is_section_here = entry.kind == TomlKind::table;
  if (entry.path.size() <= 2) {
    if (!is_section_here) {
      return fail(
          Errc::config,
          place + entry.key + ": expected a section, found " + std::string(describe(entry.kind)),
          "write [entries.NAME]");
    }
    if (entry.path.size() == 1) return {};
    if (auto key = Key::from(entry.path[1]); !key) {
      return blame(std::move(key).error(), place + entry.key, Errc::config);
    }
    settings.entries[entry.path[1]];
    return {};
  }
  auto& target = settings.entries[entry.path[1]];
  const bool is_member = entry.path.size() == 4;
  const auto* option = find_entry_option(entry.path[2]);
  const bool of_table = option != nullptr && is_table(option->type);
  const auto name = is_member ? entry.path[2] + '.' + entry.path[3] : entry.path[2];
  if (!of_table) option = find_entry_option(name);
  if (is_section_here && is_entry_section(name)) return {};
  if (option == nullptr) {
    return fail(Errc::config,
                place + entry.key + ": an entry has no option '" + printable(name) + '\'',
                did_you_mean(nearest_entry_option(name)));
  }
  if (!fits(option->type, entry.kind) || (of_table && !is_member)) {
    return fail(Errc::config, place + entry.key + ": expected " +
                                  expectation(option->type, option->choices) + ", found " +
                                  std::string(describe(entry.kind)));
  }
  EntryText text{entry.text, entry.elements, entry.kind == TomlKind::strings,
                 of_table ? entry.path[3] : std::string()};
  if (option->type == Type::path) {
    auto path_here = path_in_file(text.text, environment);
    if (!path_here) return blame(std::move(path_here).error(), place + entry.key, Errc::config);
    text.text = std::move(*path_here);
  }
  auto done = option->assign(target, *option, text);
  if (!done) return blame(std::move(done).error(), place + entry.key, Errc::config);
  target.given[of_table ? name : std::string(option->key)] = {
      as_written(entry), path + ':' + std::to_string(entry.line), std::move(text)};
  return {};
}

/// What stands in or below [strategies].
Result<void> apply_strategy(Settings& settings, const TomlEntry& entry, const std::string& place) {
  const bool is_name = entry.path.size() == 2;
  const auto wanted = is_name ? TomlKind::string : TomlKind::table;
  if (entry.kind != wanted) {
    return fail(Errc::config,
                place + entry.key + ": expected " +
                    (is_name ? expectation(Type::duration, {}) : std::string("a section")) +
                    ", found " + std::string(describe(entry.kind)));
  }
  if (!is_name) return {};
  auto ttl = parse_duration(entry.text);
  if (!ttl) return blame(std::move(ttl).error(), place + entry.key, Errc::config);
  settings.strategies[entry.path[1]] = *ttl;
  return {};
}

/// What only the whole of an entry shows.
Result<void> check_entries(const Settings& settings) {
  for (const auto& item : settings.entries) {
    const auto& key = item.first;
    const auto& entry = item.second;
    const auto blamed = [&](const char* option, const std::string& why, std::string advice) {
      const auto given = entry.given.find(option);
      const auto place = given == entry.given.end() ? std::string() : given->second.origin;
      return fail(
          Errc::config,
          fmt::format("{}{}entries.{}: {}", place, place.empty() ? "" : ": ", printable(key), why),
          std::move(advice));
    };
    const auto source = entry.given.find("source");
    if (source != entry.given.end()) {
      const bool is_list = source->second.text.starts_with('[');
      if (entry.shell && is_list) {
        return blamed("source", "shell = true, and the source is a list",
                      "write one text, or leave shell out");
      }
      if (!entry.shell && !is_list) {
        return blamed("source", "the source is a text, and shell is not set",
                      "write a list of strings, or shell = true");
      }
    }
    if (!entry.strategy.empty() && !settings.strategies.contains(entry.strategy)) {
      auto why = settings.ttl_of_strategy(entry.strategy).error();
      return blamed("strategy", why.message, std::move(why.advice));
    }
    if (entry.given.contains("strategy") && entry.given.contains("ttl")) {
      return blamed("strategy", "both ttl and strategy are set", "leave one of them out");
    }
    if (entry.warm && is_pattern(key)) {
      return blamed("warm", "a pattern is no key that could be made beforehand",
                    "set warm for single keys");
    }
    if (entry.warm && entry_of(settings.entries, key)->source.empty()) {
      return blamed("warm", "there is no source to warm it with", "set source");
    }
    if (entry.pool_max < 1 || entry.pool_max > 64) {
      return blamed("pool.max", "pool.max is not between 1 and 64", "");
    }
    if (entry.pool_size > entry.pool_max && entry.given.contains("pool.size")) {
      return blamed("pool.size", "pool.size is more than pool.max", "");
    }
  }
  return {};
}

Result<void> apply_entry(Settings& settings, const TomlEntry& entry, const std::string& path,
                         const Environment& environment) {
  const std::string place = printable(path) + ':' + std::to_string(entry.line) + ": ";
  if (entry.path.front() == "entries") {
    return apply_to_key(settings, entry, path, place, environment);
  }
  if (entry.path.front() == "strategies") return apply_strategy(settings, entry, place);
  const Option* option = find_option(entry.key);
  if (option == nullptr && is_section(entry.key)) {
    if (entry.kind == TomlKind::table) return {};
    return fail(Errc::config, place + '\'' + entry.key + "' is a section, not a key",
                "write [" + entry.key + ']');
  }
  if (option == nullptr) return refuse_unknown(entry, place);
  if (!fits(option->type, entry.kind)) {
    return fail(Errc::config, place + entry.key + ": expected " +
                                  expectation(option->type, option->choices) + ", found " +
                                  std::string(describe(entry.kind)));
  }
  const auto text = entry.kind == TomlKind::strings
                        ? fmt::format("{}", fmt::join(entry.elements, ","))
                        : entry.text;
  auto done = set(settings, *option, text, {Layer::file, path, entry.line}, environment);
  if (!done) return blame(std::move(done).error(), place + entry.key, Errc::config);
  return {};
}

Result<void> apply_file(Settings& settings, const FileText& file, const Environment& environment) {
  CACHECTL_ASSIGN(const auto entries, parse_toml(file.text, printable(file.path)));
  for (const TomlEntry& entry : entries) {
    CACHECTL_TRY(apply_entry(settings, entry, file.path, environment));
  }
  settings.files.push_back(file.path);
  return {};
}

Result<void> apply_environment(Settings& settings, const Environment& environment) {
  for (const Option& option : options()) {
    const std::string_view text = variable(environment, option.environment);
    if (text.empty()) continue;
    auto done =
        set(settings, option, text, {Layer::environment, option.environment, 0}, environment);
    if (!done) return blame(std::move(done).error(), option.environment, Errc::config);
  }
  return {};
}

Result<void> apply_flags(Settings& settings, const Flags& flags, const Environment& environment) {
  for (const Override& given : flags.overrides) {
    const Option* option = find_option(given.key);
    if (option == nullptr) {
      return fail(Errc::usage, given.flag + ": unknown option " + in_quotes(given.key),
                  did_you_mean(nearest_option(given.key)));
    }
    auto done = set(settings, *option, given.value, {Layer::flag, given.flag, 0}, environment);
    if (!done) return blame(std::move(done).error(), given.flag, Errc::usage);
  }
  return {};
}

/// What only several options together show.
Result<void> check_together(const Settings& settings) {
  if (settings.redis_min_idle <= settings.redis_pool_size) return {};
  // The default is never too many, so somebody has set it.
  constexpr std::string_view kKey = "redis.min-idle";
  const Option& option = *find_option(kKey);
  const auto& origin = settings.origin_of(option);
  auto place = printable(origin.name);
  if (origin.layer == Layer::file) place += fmt::format(":{}: {}", origin.line, kKey);
  return fail(origin.layer == Layer::flag ? Errc::usage : Errc::config,
              fmt::format("{}: {} is more than redis.pool-size, which is {}", place,
                          settings.redis_min_idle, settings.redis_pool_size),
              "lower it, or raise redis.pool-size");
}

}  // namespace

std::string Origin::describe() const {
  switch (layer) {
    case Layer::defaults:
      return "default";
    case Layer::file:
      return name + ':' + std::to_string(line);
    case Layer::environment:
      return "environment " + name;
    case Layer::flag:
      return "flag " + name;
  }
  return {};
}

Settings::Settings()
    : strategies{{"default", std::chrono::seconds(60)},
                 {"real-time", std::chrono::seconds(30)},
                 {"short-term", std::chrono::minutes(5)},
                 {"medium-term", std::chrono::hours(1)},
                 {"long-term", std::chrono::hours(3)}} {
  for (const Option& option : options()) {
    if (option.type == Type::path) continue;
    // A default that does not parse would be a bug of the table; a test reads them all.
    static_cast<void>(assign(*this, option, option.default_text));
  }
}

std::string Settings::text_of(const Option& option) const { return value_text(*this, option); }

Result<Settings> load(const Flags& flags, const Environment& environment,
                      const std::string& system) {
  Settings settings;
  settings.root = xdg_directory(environment, "XDG_CACHE_HOME", ".cache").value_or(std::string());
  CACHECTL_ASSIGN(const auto of_system, read_if_exists(system));
  if (of_system) CACHECTL_TRY(apply_file(settings, *of_system, environment));
  CACHECTL_ASSIGN(const auto of_user, read_user_file(flags.config_file, environment));
  if (of_user) CACHECTL_TRY(apply_file(settings, *of_user, environment));
  CACHECTL_TRY(check_entries(settings));
  CACHECTL_TRY(apply_environment(settings, environment));
  CACHECTL_TRY(apply_flags(settings, flags, environment));
  CACHECTL_TRY(check_together(settings));
  return settings;
}

Result<void> check_file(const std::string& path, const Environment& environment) {
  CACHECTL_ASSIGN(const auto file, read_named_file(path));
  Settings scratch;
  CACHECTL_TRY(apply_file(scratch, file, environment));
  CACHECTL_TRY(check_entries(scratch));
  return check_together(scratch);
}

Result<std::chrono::nanoseconds> Settings::ttl_of_strategy(std::string_view name) const {
  if (const auto found = strategies.find(name); found != strategies.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& strategy : strategies) names.push_back(strategy.first);
  return fail(Errc::usage, "there is no strategy " + in_quotes(name),
              did_you_mean(nearest(name, names)));
}

std::optional<EntrySettings> Settings::entry(std::string_view key) const {
  auto found = entry_of(entries, key);
  // That there is such a strategy was checked when the file was read.
  if (found && !found->strategy.empty()) found->ttl = strategies.at(found->strategy);
  return found;
}

Result<std::string> resolve_root(const Settings& settings) {
  if (!settings.root.empty()) return settings.root;
  return fail(Errc::config, "no cache directory: neither HOME nor XDG_CACHE_HOME is set",
              "name one with --root or CACHECTL_ROOT");
}

}  // namespace cachectl::config
