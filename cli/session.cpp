#include "cli/session.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/exit_status.hpp"
#include "lock/signals.hpp"

namespace cachectl::cli {

void GlobalOptions::define(Definition& definition) {
  definition.setting("--root", "root", "DIR", "The directory of the cache");
  definition.option("--config", config_file, "FILE", "Read this configuration file");
  definition.flag("-q,--quiet", quiet, "No warnings");
  definition.status("-E,--timeout-status", timeout_status, "N",
                    "Exit with N instead of 124 when a deadline passes");
}

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
  CACHECTL_ASSIGN(auto opened, Cache::open(std::move(options)));
  cache_.emplace(std::move(opened));
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

Result<void> Session::print(std::string_view text) {
  return lock::write_all(STDOUT_FILENO, lock::bytes_of(text), "standard output");
}

namespace {

/// One line, whatever a path or a system message holds.
void say(std::string_view prefix, const Error& what) {
  auto line = std::string(prefix) + what.describe();
  for (char& byte : line) {
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) byte = '?';
  }
  line += '\n';
  // When standard error is closed there is nobody to tell.
  [[maybe_unused]] const auto told =
      lock::write_all(STDERR_FILENO, lock::bytes_of(line), "standard error");
}

}  // namespace

void Session::warn(const Error& what) {
  if (listener_) return listener_(what);
  if (!options_.quiet && warned_.insert(what.describe()).second) say("cachectl: warning: ", what);
}

void Session::tell(const std::string& what) const {
  if (!options_.quiet) say("cachectl: ", {Errc::io, 0, what, {}});
}

int Session::report(const Error& error) const {
  if (error.system_error == EPIPE) lock::die_by(SIGPIPE);
  say("cachectl: ", error);
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
