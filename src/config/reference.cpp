#include "src/config/reference.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <string_view>

#include "src/config/duration.hpp"
#include "src/config/options.hpp"
#include "src/config/settings.hpp"
#include "src/config/value.hpp"

namespace cachectl::config {

namespace {

/// A default in a table; nothing where there is none.
std::string shown_default(std::string_view text) {
  return text.empty() ? std::string() : fmt::format("`{}`", text);
}

constexpr std::string_view example_opening =
    R"(# cachectl.toml: the configuration of cachectl.
#
# The first of these files is read: --config FILE, $CACHECTL_CONFIG, ./cachectl.toml,
# $XDG_CONFIG_HOME/cachectl/cachectl.toml (by default ~/.config/cachectl/cachectl.toml).
# What it does not say comes from /etc/cachectl/cachectl.toml, then from the defaults.
# The environment and the flags of a command come before all files.
#
# Lines that start with # and a name show the defaults: remove the # and change the value.
# Durations: "500ms", "30s", "5m", "1h30m", "2d", "never".
# Sizes: 512, "10K", "5M", "2G", "1T" (powers of 1024), "unlimited".
)";

constexpr std::string_view example_strategies =
    R"(
# TTLs with a name, for entries and for run --strategy. Change these, or add your own.
[strategies]
)";

constexpr std::string_view example_entry =
    R"(
# Single keys, each in a section of its own. This one is for the key "prices"; one for
# [entries."user:*"] has the defaults of all keys that match.
#[entries.prices]
)";

constexpr std::string_view page_opening =
    R"(# Configuration

<!-- Generated from the table in src/config/options.cpp; a test compares the two. -->

cachectl needs no configuration. `cachectl config init` writes a commented file to start
from, the same as `cachectl.toml.example`; `cachectl config show --origin` prints every
value and where it comes from; `cachectl config check` tells whether a file is right.

## Layers

The first one that says something about an option wins, option by option:

1. the flags of the command
2. the environment variables of the table below; an empty one counts as not set
3. the user's file, which is the first of
   - `--config FILE`
   - the file that `$CACHECTL_CONFIG` names
   - `./cachectl.toml`
   - `$XDG_CONFIG_HOME/cachectl/cachectl.toml`, by default
     `$HOME/.config/cachectl/cachectl.toml`
4. the system's file, `/etc/cachectl/cachectl.toml`
5. the defaults

A file that was named must exist; the others may be missing. `./cachectl.toml` is refused
when it belongs to somebody else than you or root, when everybody can write it, or when it
is not a regular file, because it could choose the cache for you: name it with `--config`
if you trust it, or pass over it with `--config /dev/null`.

A wrong value, an unknown key or an unknown section is an error in every layer, also where
another layer overrides it; the message names the line, and the nearest key.

## Options

)";

constexpr std::string_view page_entries =
    R"(
## Entries

A file can say more about single keys: how their values are made, so that `cachectl refresh NAME`
needs nothing else, and which pool of replicas they have. The section of the key `prices` is
`[entries.prices]`; names with other characters than letters, digits, `-` and `_` stand in quotes.
Where two files speak of one key, the user's wins, option by option.

A name with `*`, `?` or `[` is a pattern, as of the shell, where `*` passes over `/` too. What it says
are the defaults of all keys that match: `[entries."user:*"]` for `user:123`. Of several patterns the
longer one wins, and over all of them the section of the key itself.

A TTL can have a name, so that one line changes it for many: `[strategies]` sets those of the next
table, and your own.

| strategy | TTL |
| --- | --- |
@STRATEGIES@

```toml
[entries.terraform-plugins]
source = ["./download-plugins", "--all"]
kind = "tree"
ttl = "1d"
pool = { max = 4, reset = "always" }
```

| option | type | default | meaning |
| --- | --- | --- | --- |
)";

constexpr std::string_view page_ending =
    R"(
The default root is `$XDG_CACHE_HOME/cachectl` where that variable holds an absolute path,
else `$HOME/.cache/cachectl`.

## Types

| type | in a file | in a variable or a flag |
| --- | --- | --- |
| duration | `"500ms"`, `"30s"`, `"5m"`, `"1h30m"`, `"2d"`, `"1w"`, `"never"`, `0`; a number without a unit is refused | the same without quotes |
| size | `512`, `"10K"`, `"5M"`, `"2G"`, `"1T"`, `"5MiB"`, in powers of 1024, `"unlimited"` | the same without quotes |
| number | `1000`, `0.5`, `"10%"` of a whole, `"unlimited"` | the same without quotes |
| boolean | `true`, `false` | `true`, `false`, `1`, `0` |
| path | absolute, or `"~/..."` | relative ones start at the working directory |
| text | in quotes | |
| durations | a table from exit statuses: `{ "22" = "30s", "75" = "1m" }` | `22=30s,75=1m` |
| variables | a table from names: `{ LANG = "C" }` | |
| choice | one of the words, in quotes | one of the words |
| choices | one of the words, or several: `["reflink", "copy"]` | |
| exit status | `75`, `"none"` | |
| command | `["command", "argument"]`, or with `shell = true` one text for `sh -c` | |
)";

/// The default as it stands in a file.
std::string toml_default(const Option& option) {
  if (option.type == Type::boolean) return std::string(option.default_text);
  if (option.type == Type::texts) return "[]";
  return fmt::format("\"{}\"", option.default_text);
}

/// "choice: `full`, `none`".
std::string type_cell(Type type, std::string_view choices) {
  std::string cell(type_name(type));
  std::string_view separator = ": ";
  for (const std::string_view choice : choices_in(choices)) {
    fmt::format_to(std::back_inserter(cell), "{}`{}`", separator, choice);
    separator = ", ";
  }
  return cell;
}

}  // namespace

std::string example_toml() {
  std::string text(example_opening);
  std::string_view section;
  for (const Option& option : options()) {
    text += '\n';
    if (section_of(option.key) != section) {
      section = section_of(option.key);
      fmt::format_to(std::back_inserter(text), "[{}]\n", section);
    }
    fmt::format_to(std::back_inserter(text), "# {}\n#{} = {}\n", option.doc, name_of(option.key),
                   toml_default(option));
  }
  text += example_strategies;
  for (const auto& [name, ttl] : Settings().strategies) {
    fmt::format_to(std::back_inserter(text), "#{} = \"{}\"\n", name, exact_duration(ttl));
  }
  text += example_entry;
  for (const EntryOption& option : entry_options()) {
    auto value = fmt::format("\"{}\"", option.default_text);
    if (option.type == Type::boolean) value = std::string(option.default_text);
    if (!option.example.empty()) value = std::string(option.example);
    fmt::format_to(std::back_inserter(text), "# {}\n#{} = {}\n", option.doc, option.key, value);
  }
  return text;
}

std::string reference_markdown() {
  std::string text(page_opening);
  text += "| option | type | default | environment | meaning |\n| --- | --- | --- | --- | --- |\n";
  for (const Option& option : options()) {
    fmt::format_to(std::back_inserter(text), "| `{}` | {} | {} | `{}` | {} |\n", option.key,
                   type_cell(option.type, option.choices), shown_default(option.default_text),
                   option.environment, option.doc);
  }
  std::string strategies;
  for (const auto& [name, ttl] : Settings().strategies) {
    fmt::format_to(std::back_inserter(strategies), "| `{}` | `{}` |\n", name, exact_duration(ttl));
  }
  std::string entries(page_entries);
  constexpr std::string_view kMark = "@STRATEGIES@\n";
  text += entries.replace(entries.find(kMark), kMark.size(), strategies);
  for (const EntryOption& option : entry_options()) {
    fmt::format_to(std::back_inserter(text), "| `{}` | {} | {} | {} |\n", option.key,
                   type_cell(option.type, option.choices), shown_default(option.default_text),
                   option.doc);
  }
  text += page_ending;
  return text;
}

}  // namespace cachectl::config
