// Entries: what a file says about single keys, each in a section of its own.
//
//   [entries.terraform-plugins]
//   source = ["./download-plugins"]
//   kind = "tree"
//   ttl = "1d"
//   pool = { max = 4 }
//
// A name with *, ? or [ is a pattern (fnmatch(3), where * passes over / too): what it says
// are the defaults of all keys that match, the longer pattern before the shorter.
//
// One table declares their options, as src/config/options.hpp does for those of cachectl
// itself; the example file and the reference page come from it. Only files set them.
// Thread-safe: no state.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lock/result.hpp"
#include "src/choices.hpp"
#include "src/config/options.hpp"

namespace cachectl::config {

/// The enumerators stand in the order of EntryOption::choices.
enum class EntryKind { bytes, tree };
enum class EmptyOutput { value, error };

/// Text of a file before it is known what it is for.
struct EntryText {
  std::string text;                   ///< of a string, integer or boolean
  std::vector<std::string> elements;  ///< of an array of strings
  bool is_array = false;
  std::string member = {};  ///< of a table: "22" in ttl-by-status = { 22 = "30s" }
};

struct EntrySettings {
  /// The defaults of the table.
  EntrySettings();

  std::vector<std::string> source;  ///< empty: none
  bool shell = false;               ///< source is one text for sh -c
  EntryKind kind = EntryKind::bytes;
  std::map<std::string, std::string> environment;
  std::string directory;  ///< where the source runs; empty: where we do
  EmptyOutput empty = EmptyOutput::value;
  std::optional<int> not_modified;  ///< the exit status that says so

  std::chrono::nanoseconds ttl{};  ///< unless a strategy is named
  std::string strategy;            ///< its name; empty: ttl counts
  std::map<int, std::chrono::nanoseconds> ttl_by_status;
  std::chrono::nanoseconds stale_while_revalidate{};
  std::chrono::nanoseconds stale_if_error{};
  std::chrono::nanoseconds expire_after_access{};
  double jitter = 0;
  double beta = 0;
  std::chrono::nanoseconds refresh_threshold{};
  double refresh_probability = 0;

  std::optional<std::chrono::nanoseconds> timeout;  ///< else the general one
  std::optional<bool> durable;                      ///< else as in general
  std::chrono::nanoseconds source_timeout{};
  OnError on_error = OnError::stale;
  Coordination coordination = Coordination::local;
  Tiers tiers = Tiers::all;
  std::uint64_t retries = 0;
  std::chrono::nanoseconds retry_delay{};
  std::uint64_t breaker_failures = 0;
  std::chrono::nanoseconds breaker_cool_down{};

  bool warm = false;
  std::optional<std::chrono::nanoseconds> warm_interval;  ///< else the TTL

  std::uint64_t pool_size = 0;
  std::uint64_t pool_max = 0;
  Reset pool_reset = Reset::dirty;
  std::vector<Way> pool_copy;  ///< those allowed, by preference; empty: automatic

  /// What was given, by the key of the option (and the member of a table, behind a dot), as
  /// one would write it, and where.
  struct Given {
    std::string text;
    std::string origin;  ///< "/etc/cachectl/cachectl.toml:3"
    EntryText raw;
  };
  std::map<std::string, Given, std::less<>> given;

  /// The command to run: the source itself, or sh -c with it.
  [[nodiscard]] std::vector<std::string> command() const;

  /// Sets here what was given there.
  void take(const EntrySettings& other);
};

/// By the key's bytes.
using Entries = std::map<std::string, EntrySettings, std::less<>>;

/// What the files say about one key, patterns included; nullopt: nothing.
[[nodiscard]] std::optional<EntrySettings> entry_of(const Entries& entries, std::string_view key);

/// The name of the section that says the most about a key: its own, else the longest pattern
/// that it matches. Empty: none says anything. Of `entries`, as long as that lives.
[[nodiscard]] std::string_view section_of_key(const Entries& entries, std::string_view key);

/// Whether the name of a section stands for many keys.
[[nodiscard]] bool is_pattern(std::string_view name);

struct EntryOption {
  std::string_view key;  ///< dotted: "pool.max"
  Type type;
  std::string_view default_text;  ///< empty: none
  std::string_view choices;
  /// "why", without the key.
  Result<void> (*assign)(EntrySettings& entry, const EntryOption& option, const EntryText& text);
  std::string_view doc;           ///< one line, no full stop
  std::string_view example = {};  ///< as it stands in a file, where the default tells nothing
};

[[nodiscard]] std::span<const EntryOption> entry_options();
[[nodiscard]] const EntryOption* find_entry_option(std::string_view key);
[[nodiscard]] std::optional<std::string> nearest_entry_option(std::string_view key);
/// Whether some option of an entry lives in this table of it, or is it: "pool".
[[nodiscard]] bool is_entry_section(std::string_view name);

}  // namespace cachectl::config
