// Settings: what every option is, and who said so.
//
// Layers, the highest first: flags, environment, the user's file, the system's file,
// defaults (docs/configuration.md). Each value remembers its origin. A wrong value in any
// layer is an error even when a higher layer overrides it: it would bite on another day.
// No code of the TOML parser runs unless a file exists. Thread-safe: no state; `load`
// reads the environment through its argument only.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lock/result.hpp"
#include "src/config/duration.hpp"
#include "src/config/entries.hpp"
#include "src/config/environment.hpp"
#include "src/config/files.hpp"
#include "src/config/options.hpp"
#include "src/config/size.hpp"

namespace cachectl::config {

/// The enumerators stand in the order of Option::choices.
enum class Durability { full, none };
enum class LogLevel { error, warning, notice, info, debug };
enum class LogFormat { text, json };

enum class Layer { defaults, file, environment, flag };

struct Origin {
  Layer layer = Layer::defaults;
  std::string name;   ///< path, variable or flag; empty for a default
  unsigned line = 0;  ///< of a file

  /// "default", "/etc/cachectl/cachectl.toml:3", "environment CACHECTL_TTL", "flag --ttl".
  [[nodiscard]] std::string describe() const;
};

struct Settings {
  /// The defaults of the table. `root` is empty: its default depends on the environment.
  Settings();

  std::string root;
  bool shared = false;
  Durability durability = Durability::full;
  std::chrono::nanoseconds timeout{};
  bool counters = true;
  std::chrono::nanoseconds run_ttl{};
  OnTimeout run_on_timeout = OnTimeout::fail;
  std::chrono::nanoseconds set_ttl{};
  std::uint64_t trees_retain = 0;
  std::chrono::nanoseconds trees_retain_for{};
  std::uint64_t gc_max_size = 0;
  std::uint64_t gc_max_entries = 0;
  std::chrono::nanoseconds gc_time_limit{};
  LogLevel log_level = LogLevel::notice;
  LogFormat log_format = LogFormat::text;
  std::string events_file;  ///< empty: none
  std::uint64_t events_max_size = 0;
  std::uint64_t daemon_jobs = 0;
  std::chrono::nanoseconds daemon_gc_interval{};
  std::string daemon_listen;  ///< an address, or off
  std::string redis_url;      ///< empty: none
  std::string redis_user;
  std::string redis_password_file;
  std::string redis_prefix;
  std::uint64_t redis_pool_size = 0;
  std::uint64_t redis_min_idle = 0;
  std::chrono::nanoseconds redis_connect_timeout{};
  std::chrono::nanoseconds redis_read_timeout{};
  std::chrono::nanoseconds redis_write_timeout{};
  std::uint64_t redis_compress_above = 0;
  std::string redis_cluster_seeds;  ///< separated by commas
  std::string redis_sentinel_seeds;
  std::string redis_sentinel_name;
  std::string redis_sentinel_password_file;

  Entries entries;  ///< what the files say about single keys and patterns, section by section
  std::map<std::string, std::chrono::nanoseconds, std::less<>> strategies;  ///< TTLs by name

  /// What the files say about one key, all told; nullopt: nothing.
  [[nodiscard]] std::optional<EntrySettings> entry(std::string_view key) const;
  /// Errc::usage, with the nearest name: there is no such strategy.
  [[nodiscard]] Result<std::chrono::nanoseconds> ttl_of_strategy(std::string_view name) const;

  std::array<Origin, option_count> origins;  ///< by index_of(option)
  std::vector<std::string> files;            ///< those that were read, the system's first

  [[nodiscard]] const Origin& origin_of(const Option& option) const {
    return origins[index_of(option)];
  }
  /// The value as one would write it in a file (without quotes): "1h30m", "5M", "full".
  [[nodiscard]] std::string text_of(const Option& option) const;
};

/// A value given on the command line.
struct Override {
  std::string key;    ///< of the option: "run.ttl"
  std::string value;  ///< as typed
  std::string flag;   ///< as the user knows it, for messages: "--ttl"
};

struct Flags {
  std::optional<std::string> config_file;  ///< --config
  std::vector<Override> overrides;         ///< the last one of a key wins
};

/// All layers. Errc::usage for a wrong flag, Errc::config for everything else.
/// `system` is a parameter for tests.
[[nodiscard]] Result<Settings> load(const Flags& flags, const Environment& environment,
                                    const std::string& system = system_file);

/// Whether one file is right, by itself.
[[nodiscard]] Result<void> check_file(const std::string& path, const Environment& environment);

/// The directory of the cache, absolute. Errc::config when nothing says where it is:
/// only commands that use the cache ask.
[[nodiscard]] Result<std::string> resolve_root(const Settings& settings);

}  // namespace cachectl::config
