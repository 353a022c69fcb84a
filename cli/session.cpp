#include "cli/session.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/exit_status.hpp"
#include "cli/log_line.hpp"
#include "cli/progress_line.hpp"
#include "cli/remote_options.hpp"
#include "lock/signals.hpp"
#include "src/telemetry/counting.hpp"
#include "src/telemetry/event_log.hpp"

namespace cachectl::cli {

void GlobalOptions::define(Definition& definition) {
  definition.setting("--root", "root", "DIR", "The directory of the cache");
  definition.option("--config", config_file, "FILE", "Read this configuration file");
  definition.flag("-q,--quiet", quiet, "Errors only: no warnings, and nothing while it waits");
  definition.flag("-v,--verbose", verbose, "Say what it does: hits, misses, waits, runs");
  definition.setting("--log-level", "log.level", "error|warning|notice|info|debug",
                     "What is said at least; else notice");
  definition.setting("--log-format", "log.format", "text|json",
                     "Messages as lines for people, or as JSON");
  definition.status("-E,--timeout-status", timeout_status, "N",
                    "Exit with N instead of 124 when a deadline passes");
}

Result<void> GlobalOptions::check(const Definition& definition) const {
  const bool named = (quiet || verbose) && definition.was_given("--log-level");
  if (!named && !(quiet && verbose)) return {};
  return fail(Errc::usage, "more than one of --quiet, --verbose and --log-level was given",
              "leave one of them out");
}

Session::Session(GlobalOptions options, std::vector<config::Override> overrides)
    : options_(std::move(options)), overrides_(std::move(overrides)) {}
Session::~Session() = default;

config::Flags Session::flags() const {
  config::Flags flags;
  if (!options_.config_file.empty()) flags.config_file = options_.config_file;
  flags.overrides = overrides_;
  return flags;
}

Result<const config::Settings*> Session::settings() {
  if (!settings_) {
    CACHECTL_ASSIGN(auto loaded, config::load(flags(), ::getenv));
    settings_ = std::move(loaded);
    for (const auto& file : settings_->files) {
      tell(config::LogLevel::debug, "configuration: " + file);
    }
  }
  return &*settings_;
}

Result<const Cache*> Session::cache() {
  if (cache_) return &*cache_;
  CACHECTL_ASSIGN(const auto* loaded, settings());
  CacheOptions options;
  CACHECTL_ASSIGN(options.root, config::resolve_root(*loaded));
  options.sharing = loaded->shared ? store::Sharing::group : store::Sharing::owner_only;
  options.warn = [this](const Error& what) { warn(what); };
  if (const char* outer = ::getenv("CACHECTL_LOCK"); outer != nullptr && *outer != '\0') {
    auto decoded = lock::decode_outer_locks(outer);
    if (!decoded) return fail(std::move(decoded).error().within("CACHECTL_LOCK"));
    options.outer = std::move(*decoded);
  }
  options.lease = lease_;
  CACHECTL_ASSIGN(const auto servers, redis_servers(*loaded));
  if (servers && !stays_on_disk_) {
    options.remote = [loaded] { return remote_options(*loaded); };
    options.shares = [loaded](const Key& key) {
      const auto entry = loaded->entry(key.bytes());
      return !entry || entry->tiers == Tiers::all;
    };
  }
  if (!loaded->events_file.empty()) {
    options.observers.push_back(
        std::make_shared<telemetry::EventLog>(loaded->events_file, options.warn));
  }
  if (loaded->counters) {
    auto counting = std::make_shared<telemetry::Counting>(
        [loaded](std::string_view key) { return config::section_of_key(loaded->entries, key); });
    // Never unmapped: the end of the process does that, and for a fraction of the cost.
    // Used: what only the leak checker reads is optimized away otherwise.
    [[gnu::used]] static const auto* const kept =
        new std::shared_ptr<const telemetry::Counting>(counting);
    options.observers.push_back(std::move(counting));
  }
  CACHECTL_ASSIGN(auto opened, Cache::open(std::move(options)));
  cache_.emplace(std::move(opened));
  if (says(config::LogLevel::debug)) tell(config::LogLevel::debug, "cache: " + cache_->path());
  return &*cache_;
}

Result<const Cache*> Session::cache_under(const std::string* lease) {
  const char* inherited = ::getenv("CACHECTL_LEASE");
  if (lease != nullptr) {
    CACHECTL_ASSIGN(const auto id, lease::Id::parse(*lease));
    lease_ = id.text();
  } else if (inherited != nullptr && *inherited != '\0') {
    auto id = lease::Id::parse(inherited);
    if (!id) return fail(std::move(id).error().within("CACHECTL_LEASE"));
    lease_ = id->text();
  }
  return cache();
}

Result<void> Session::print(std::string_view text) const {
  clear_progress();
  return lock::write_all(STDOUT_FILENO, lock::bytes_of(text), "standard output");
}

bool Session::says(config::LogLevel level) const {
  if (options_.quiet) return level <= config::LogLevel::error;
  if (options_.verbose) return level <= config::LogLevel::info;
  return level <= (settings_ ? settings_->log_level : config::LogLevel::notice);
}

/// Also where the configuration is what is wrong.
config::LogFormat Session::format() const {
  if (settings_) return settings_->log_format;
  std::string_view text;
  if (const char* variable = ::getenv("CACHECTL_LOG_FORMAT")) text = variable;
  for (const auto& given : overrides_) {
    if (given.key == "log.format") text = given.value;
  }
  return text == "json" ? config::LogFormat::json : config::LogFormat::text;
}

namespace {

/// One line, whatever a path or a system message holds.
std::string text_line(config::LogLevel level, const Error& what) {
  auto line =
      (level == config::LogLevel::warning ? "cachectl: warning: " : "cachectl: ") + what.describe();
  for (char& byte : line) {
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) byte = '?';
  }
  return line;
}

}  // namespace

void Session::say(config::LogLevel level, const Error& what) const {
  clear_progress();
  auto line = format() == config::LogFormat::text
                  ? text_line(level, what)
                  : json_message({level, what, key_, cache_ ? cache_->path() : std::string()});
  line += '\n';
  if (shared_line_ != nullptr) line.insert(0, shared_line_->eraser());
  // When standard error is closed there is nobody to tell.
  [[maybe_unused]] const auto told =
      lock::write_all(STDERR_FILENO, lock::bytes_of(line), "standard error");
}

void Session::warn(const Error& what) {
  if (listener_) return listener_(what);
  if (!says(config::LogLevel::warning)) return;
  if (warned_.insert(what.describe()).second) say(config::LogLevel::warning, what);
}

void Session::tell(config::LogLevel level, const std::string& what) const {
  if (says(level)) say(level, {Errc::io, 0, what, {}});
}

void Session::concern(const Key& key) {
  if (format() == config::LogFormat::json) key_ = key.bytes();
}

ProgressLine& Session::progress() {
  if (!progress_) progress_ = std::make_unique<ProgressLine>(std::chrono::nanoseconds(0));
  return *progress_;
}

void Session::clear_progress() const {
  if (progress_) progress_->clear();
}

int Session::report(const Error& error) const {
  if (error.system_error == EPIPE) lock::die_by(SIGPIPE);
  say(config::LogLevel::error, error);
  if (error.code == Errc::timeout) return options_.timeout_status;
  return exit_status_of(error.code);
}

lock::Durability Session::durability(const config::Settings& settings) {
  return settings.durability == config::Durability::full ? lock::Durability::full
                                                         : lock::Durability::none;
}

std::string iso_time(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto of_day = std::chrono::floor<std::chrono::milliseconds>(time - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     of_day / 3'600'000, of_day / 60'000 % 60, of_day / 1000 % 60, of_day % 1000);
}

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

}  // namespace cachectl::cli
