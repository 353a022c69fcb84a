// Session: one call of the command: its settings, its cache, and how it talks.
//
// Standard output carries the result and nothing else; everything for people goes to
// standard error, one line a message: "cachectl: what: why (what to do)".
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "cli/definition.hpp"
#include "src/cache.hpp"
#include "src/config/settings.hpp"

namespace cachectl::cli {

/// The options that every subcommand has.
struct GlobalOptions {
  std::string config_file;
  bool quiet = false;
  int timeout_status = 124;  ///< as in the table, unless -E says otherwise

  void define(Definition& definition);
};

class Session {
 public:
  Session(GlobalOptions options, std::vector<config::Override> overrides)
      : options_(std::move(options)), overrides_(std::move(overrides)) {}

  /// The same call, with nothing loaded or opened yet.
  [[nodiscard]] std::unique_ptr<Session> anew() const {
    return std::make_unique<Session>(options_, overrides_);
  }

  /// Loaded once, when first asked for.
  [[nodiscard]] Result<const config::Settings*> settings();
  [[nodiscard]] config::Flags flags() const;

  /// Opened once, when first asked for.
  [[nodiscard]] Result<const Cache*> cache();

  /// The same, to write under a lease: that of --lease, or where that was not given the one
  /// in $CACHECTL_LEASE, if any.
  [[nodiscard]] Result<const Cache*> cache_under(const std::string* lease);

  /// Results.
  [[nodiscard]] Result<void> print(std::string_view text);

  /// A warning, unless --quiet; each only once.
  void warn(const Error& what);
  /// From now on warnings go there instead.
  void tell_warnings_to(refresh::Warn listener) { listener_ = std::move(listener); }

  /// What a person at a terminal may want to know, unless --quiet.
  void tell(const std::string& what) const;

  /// Says what failed and returns the exit status for it. A closed standard output ends
  /// the process as SIGPIPE would, without a word.
  [[nodiscard]] int report(const Error& error) const;

  [[nodiscard]] static lock::Durability durability(const config::Settings& settings);

 private:
  GlobalOptions options_;
  std::vector<config::Override> overrides_;
  std::optional<config::Settings> settings_;
  std::optional<Cache> cache_;
  std::string lease_;
  refresh::Warn listener_;
  std::set<std::string> warned_;
};

/// Milliseconds precision where seconds say too little: "2026-11-21T15:12:39.123Z".
[[nodiscard]] std::string iso_time(WallTime time);

/// Whether a descriptor is a terminal.
[[nodiscard]] bool is_terminal(int descriptor);

}  // namespace cachectl::cli
