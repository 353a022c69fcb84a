#include "src/config/options.hpp"

#include <algorithm>
#include <array>

#include "src/config/nearest.hpp"
#include "src/config/settings.hpp"

namespace cachectl::config {

namespace {

constexpr std::array<Option, option_count> option_table{{
    {"root", Type::path, "~/.cache/cachectl", "CACHECTL_ROOT", "", &Settings::root,
     "the directory that holds the cache; the default is below $XDG_CACHE_HOME where that is set"},
    {"shared", Type::boolean, "false", "CACHECTL_SHARED", "", &Settings::shared,
     "the group of the root may use the cache too (directories 2770, files 0660)"},
    {"durability", Type::choice, "full", "CACHECTL_DURABILITY", "full|none", &Settings::durability,
     "full: what was stored survives power loss; none: faster, may be lost, never wrong"},
    {"timeout", Type::duration, "never", "CACHECTL_TIMEOUT", "", &Settings::timeout,
     "the longest wait for a lock"},
    {"counters", Type::boolean, "true", "CACHECTL_COUNTERS", "", &Settings::counters,
     "count hits, misses, waits and more in the cache, for `stats`"},
    {"run.ttl", Type::duration, "60s", "CACHECTL_TTL", "", &Settings::run_ttl,
     "how long `run` takes a stored result for fresh"},
    {"run.on-timeout", Type::choice, "fail", "CACHECTL_ON_TIMEOUT", "fail|run",
     &Settings::run_on_timeout,
     "what `run` does when the wait is over: fail, or run the source uncached"},
    {"set.ttl", Type::duration, "never", "CACHECTL_SET_TTL", "", &Settings::set_ttl,
     "how long a value stored by `set` is fresh"},
    {"trees.retain", Type::integer, "2", "CACHECTL_TREES_RETAIN", "", &Settings::trees_retain,
     "how many of the newest generations of a file or directory value stay, the current included"},
    {"trees.retain-for", Type::duration, "10m", "CACHECTL_TREES_RETAIN_FOR", "",
     &Settings::trees_retain_for, "how long any superseded generation stays for those who use it"},
    {"gc.max-size", Type::size, "unlimited", "CACHECTL_GC_MAX_SIZE", "", &Settings::gc_max_size,
     "`gc` evicts the least recently used entries until the cache is no larger"},
    {"gc.max-entries", Type::integer, "unlimited", "CACHECTL_GC_MAX_ENTRIES", "",
     &Settings::gc_max_entries,
     "`gc` evicts the least recently used entries until there are no more than these"},
    {"gc.time-limit", Type::duration, "never", "CACHECTL_GC_TIME_LIMIT", "",
     &Settings::gc_time_limit, "`gc` stops after this long and leaves the rest to the next one"},
    {"log.level", Type::choice, "notice", "CACHECTL_LOG_LEVEL", "error|warning|notice|info|debug",
     &Settings::log_level, "how much is said on standard error: this and what is graver"},
    {"log.format", Type::choice, "text", "CACHECTL_LOG_FORMAT", "text|json", &Settings::log_format,
     "how it is said: as lines for people, or as JSON lines for a collector of logs"},
    {"events.file", Type::path, "", "CACHECTL_EVENTS_FILE", "", &Settings::events_file,
     "what happens in the cache, but for hits, is appended to this file as JSON lines; none by "
     "default"},
    {"events.max-size", Type::size, "10M", "CACHECTL_EVENTS_MAX_SIZE", "",
     &Settings::events_max_size, "`gc` renames a larger one to FILE.1, in place of the last"},
    {"daemon.jobs", Type::integer, "4", "CACHECTL_DAEMON_JOBS", "", &Settings::daemon_jobs,
     "how many sources `daemon` runs at a time"},
    {"daemon.gc-interval", Type::duration, "1h", "CACHECTL_DAEMON_GC_INTERVAL", "",
     &Settings::daemon_gc_interval, "how often `daemon` does what `gc` does"},
    {"daemon.listen", Type::text, "off", "CACHECTL_DAEMON_LISTEN", "", &Settings::daemon_listen,
     "where `daemon` answers HTTP requests for its state, such as 127.0.0.1:9100, or off"},
    {"redis.url", Type::text, "", "CACHECTL_REDIS_URL", "", &Settings::redis_url,
     "the server that a fleet of machines shares values through: redis://[user@]host[:port][/db] "
     "or "
     "unix:/path[?db=N]; none by default"},
    {"redis.user", Type::text, "", "CACHECTL_REDIS_USER", "", &Settings::redis_user,
     "who we are to the server, where the URL does not say; the server's default user by default"},
    {"redis.password-file", Type::path, "", "CACHECTL_REDIS_PASSWORD_FILE", "",
     &Settings::redis_password_file,
     "its first line is the password; only its owner may read it. $CACHECTL_REDIS_PASSWORD comes "
     "first"},
    {"redis.prefix", Type::text, "cachectl:", "CACHECTL_REDIS_PREFIX", "", &Settings::redis_prefix,
     "what all our keys in the server begin with"},
    {"redis.pool-size", Type::integer, "8", "CACHECTL_REDIS_POOL_SIZE", "",
     &Settings::redis_pool_size, "the most connections of one process; at least 1",
     Range::positive},
    {"redis.min-idle", Type::integer, "1", "CACHECTL_REDIS_MIN_IDLE", "", &Settings::redis_min_idle,
     "how many connections of a process stay open though they are not used; at most "
     "redis.pool-size"},
    {"redis.connect-timeout", Type::duration, "200ms", "CACHECTL_REDIS_CONNECT_TIMEOUT", "",
     &Settings::redis_connect_timeout, "how long connecting to the server may take; from 1ms to 1h",
     Range::wait},
    {"redis.read-timeout", Type::duration, "500ms", "CACHECTL_REDIS_READ_TIMEOUT", "",
     &Settings::redis_read_timeout,
     "how long an answer of the server may take, and once more for each 4 MiB of it; from 1ms to "
     "1h",
     Range::wait},
    {"redis.write-timeout", Type::duration, "500ms", "CACHECTL_REDIS_WRITE_TIMEOUT", "",
     &Settings::redis_write_timeout,
     "how long the server may take to take a request, and once more for each 4 MiB of it; from 1ms "
     "to 1h",
     Range::wait},
    {"redis.compress-above", Type::size, "4K", "CACHECTL_REDIS_COMPRESS_ABOVE", "",
     &Settings::redis_compress_above,
     "larger values are sent compressed (zstd), where that saves a tenth"},
    {"redis.cluster.seeds", Type::texts, "", "CACHECTL_REDIS_CLUSTER_SEEDS", "",
     &Settings::redis_cluster_seeds,
     "nodes of a Redis Cluster, host:port, of which one that answers names the others; in place of "
     "redis.url"},
    {"redis.sentinel.seeds", Type::texts, "", "CACHECTL_REDIS_SENTINEL_SEEDS", "",
     &Settings::redis_sentinel_seeds,
     "sentinels, host:port, of which one that answers names the server; in place of redis.url"},
    {"redis.sentinel.name", Type::text, "mymaster", "CACHECTL_REDIS_SENTINEL_NAME", "",
     &Settings::redis_sentinel_name, "what the sentinels call the server"},
    {"redis.sentinel.password-file", Type::path, "", "CACHECTL_REDIS_SENTINEL_PASSWORD_FILE", "",
     &Settings::redis_sentinel_password_file,
     "the password of the sentinels themselves, like redis.password-file; none by default"},
}};

}  // namespace

std::span<const Option, option_count> options() { return option_table; }

const Option* find_option(std::string_view key) {
  const auto* found = std::find_if(option_table.begin(), option_table.end(),
                                   [key](const Option& o) { return o.key == key; });
  return found == option_table.end() ? nullptr : found;
}

std::size_t index_of(const Option& option) {
  return static_cast<std::size_t>(&option - option_table.data());
}

std::string_view section_of(std::string_view key) {
  const std::size_t dot = key.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : key.substr(0, dot);
}

std::string_view name_of(std::string_view key) {
  const std::size_t dot = key.rfind('.');
  return dot == std::string_view::npos ? key : key.substr(dot + 1);
}

std::vector<std::string_view> choices_in(std::string_view text) {
  std::vector<std::string_view> choices;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t bar = rest.find('|');
    choices.push_back(rest.substr(0, bar));
    rest.remove_prefix(bar == std::string_view::npos ? rest.size() : bar + 1);
  }
  return choices;
}

bool is_section(std::string_view name) {
  return std::any_of(option_table.begin(), option_table.end(), [name](const Option& option) {
    return !name.empty() && section_of(option.key) == name;
  });
}

std::optional<std::string> nearest_option(std::string_view key) {
  std::array<std::string_view, option_count> keys;
  std::transform(option_table.begin(), option_table.end(), keys.begin(),
                 [](const Option& o) { return o.key; });
  if (auto guess = nearest(key, keys)) return guess;
  // The name without its section, or in a wrong one.
  std::array<std::string_view, option_count> names;
  std::transform(keys.begin(), keys.end(), names.begin(), name_of);
  const auto guess = nearest(name_of(key), names);
  if (!guess) return std::nullopt;
  const auto* found = std::find(names.begin(), names.end(), *guess);
  return std::string(keys[static_cast<std::size_t>(found - names.begin())]);
}

std::optional<std::string> nearest_section(std::string_view name) {
  std::array<std::string_view, option_count> sections;
  std::transform(option_table.begin(), option_table.end(), sections.begin(),
                 [](const Option& o) { return section_of(o.key); });
  const auto guess = nearest(name, sections);
  return guess && !guess->empty() ? guess : std::nullopt;
}

}  // namespace cachectl::config
