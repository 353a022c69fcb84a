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
  bool quiet = false;        ///< log.level = error
  bool verbose = false;      ///< log.level = info
  int timeout_status = 124;  ///< as in the table, unless -E says otherwise

  void define(Definition& definition);
  /// Errc::usage: they contradict each other.
  [[nodiscard]] Result<void> check(const Definition& definition) const;
};

class ProgressLine;
class SharedLine;

class Session {
 public:
  Session(GlobalOptions options, std::vector<config::Override> overrides);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

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

  /// Its cache shares nothing with other machines. Before it is opened.
  void stay_on_disk() { stays_on_disk_ = true; }

  /// Results.
  [[nodiscard]] Result<void> print(std::string_view text) const;

  /// Whether messages of this level are said.
  [[nodiscard]] bool says(config::LogLevel level) const;

  /// A warning; each only once.
  void warn(const Error& what);
  /// From now on warnings go there instead.
  void tell_warnings_to(refresh::Warn listener) { listener_ = std::move(listener); }

  /// What a person may want to know.
  void tell(const std::string& what) const { tell(config::LogLevel::notice, what); }
  void tell(config::LogLevel level, const std::string& what) const;

  /// Messages are about this key from now on.
  void concern(const Key& key);

  /// The line that shows what we wait for. All that is said erases it first.
  [[nodiscard]] ProgressLine& progress();
  void clear_progress() const;
  /// In a process beside others, which has no line of its own but that of its parent. It must
  /// outlive the session.
  void share_line(const SharedLine& line) { shared_line_ = &line; }
  [[nodiscard]] const SharedLine* shared_line() const { return shared_line_; }

  /// Says what failed and returns the exit status for it. A closed standard output ends
  /// the process as SIGPIPE would, without a word.
  [[nodiscard]] int report(const Error& error) const;

  [[nodiscard]] static lock::Durability durability(const config::Settings& settings);

 private:
  [[nodiscard]] config::LogFormat format() const;
  void say(config::LogLevel level, const Error& what) const;

  GlobalOptions options_;
  std::vector<config::Override> overrides_;
  std::optional<config::Settings> settings_;
  std::optional<Cache> cache_;
  std::string lease_;
  bool stays_on_disk_ = false;
  refresh::Warn listener_;
  std::set<std::string> warned_;
  std::string key_;  // that messages are about
  std::unique_ptr<ProgressLine> progress_;
  const SharedLine* shared_line_ = nullptr;
};

/// Milliseconds precision where seconds say too little: "2026-11-21T15:12:39.123Z".
[[nodiscard]] std::string iso_time(WallTime time);

/// Whether a descriptor is a terminal.
[[nodiscard]] bool is_terminal(int descriptor);

}  // namespace cachectl::cli
