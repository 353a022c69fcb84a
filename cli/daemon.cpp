// cachectl daemon [--jobs N] [--gc-interval D] [--listen ADDRESS]
#include "src/daemon/daemon.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/daemon_pages.hpp"
#include "cli/remote_options.hpp"
#include "src/config/duration.hpp"
#include "src/daemon/http.hpp"
#include "src/daemon/instance.hpp"

namespace cachectl::cli {

namespace {

using daemon::Plan;
using lock::WorkReport;

using Entries = std::vector<std::pair<std::string, config::EntrySettings>>;

Entries warm_entries(const config::Settings& settings) {
  Entries found;
  for (const auto& section : settings.entries) {
    if (config::is_pattern(section.first)) continue;
    auto entry = settings.entry(section.first);
    if (entry && entry->warm) found.emplace_back(section.first, std::move(*entry));
  }
  return found;
}

/// From one time that its value is made to the next.
std::chrono::nanoseconds interval_of(const config::EntrySettings& entry,
                                     const refresh::Windows& windows) {
  // The shortest life that jitter leaves a value.
  return entry.warm_interval.value_or(refresh::lifetime(windows, 0, 1));
}

/// What the schedule is to know of an entry: when to make it, and whether the way of making
/// it is still the same.
daemon::Schedule::Entry described(const std::string& name, const config::EntrySettings& entry,
                                  const config::Settings& settings) {
  daemon::Schedule::Entry told{name, {}, {}};
  told.interval = interval_of(entry, policy_of(entry, settings).windows);
  for (const auto& [option, given] : entry.given) {
    told.definition += option + '=' + given.text + '\n';
  }
  // By its name a strategy may mean something else than before.
  told.definition += config::exact_duration(entry.ttl);
  return told;
}

/// Whether a reader could be given what is stored: at once, or should the source fail.
Result<bool> has_value(const Cache& cache, const Key& key, const Configured& configured) {
  CACHECTL_ASSIGN(const auto stored, find_stored(cache, key, configured));
  return stored &&
         (stored->state != refresh::State::expired ||
          refresh::may_stand_in(stored->entry.header(), configured.policy.failure.on_error,
                                configured.policy.windows, cache.clock().now()));
}

/// The entries to keep warm, with a look at what is there of them.
Result<Plan> plan_of(Session& session) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  if (settings->daemon_jobs == 0) {
    return fail(Errc::config, "daemon.jobs: with 0 nothing would ever be made", "set 1 or more");
  }
  // What is opened for the look is closed again: each worker opens the cache itself.
  const auto look = session.anew();
  Plan plan;
  plan.jobs = settings->daemon_jobs;
  plan.gc_interval = settings->daemon_gc_interval;
  for (const auto& [name, entry] : warm_entries(*settings)) {
    CACHECTL_ASSIGN(const Key key, Key::from(name));
    auto told = described(name, entry, *settings);
    const auto configured = find_configured(*look, key);
    const auto cache = look->cache();
    // A cache that cannot be read is none; what is wrong with it shows when it is written.
    if (configured && *configured && cache) {
      told.has_value = has_value(**cache, key, **configured).value_or(false);
    }
    plan.entries.push_back(std::move(told));
  }
  return plan;
}

/// Takes what a source says on its standard error, as far as it fits; the source never waits.
class Listener {
 public:
  static Result<Listener> create() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail(system_error("pipe"));
    Listener listener;
    listener.read_ = lock::Fd(ends[0]);
    listener.write_ = lock::Fd(ends[1]);
    return listener;
  }
  [[nodiscard]] int descriptor() const { return write_.get(); }

  /// ": " and the first line; or nothing.
  [[nodiscard]] std::string first_line() const {
    std::array<char, 200> buffer{};
    const auto size =
        lock::read_some(read_.get(), std::as_writable_bytes(std::span(buffer)), "pipe");
    if (!size || *size == 0) return {};
    const std::string text(buffer.data(), *size);
    return ": " + text.substr(0, text.find('\n'));
  }

 private:
  lock::Fd read_;
  lock::Fd write_;
};

/// What came of a run; more is a failure than where somebody waits for the output.
WorkReport report_of(const refresh::RunResult& result, const Listener& said,
                     const std::string& warning) {
  if (result.interrupted_by != 0) return {128 + result.interrupted_by, "interrupted"};
  if (result.not_stored) {
    return {kFailed, "the value was not stored: " + result.not_stored->describe()};
  }
  if (result.how == refresh::How::uncached) return {kFailed, warning};
  const int status = result.status.value;
  if (const auto& why = result.source_failed) {
    return {why->code == Errc::timeout || status == kDone ? exit_status_of(why->code) : status,
            why->describe()};
  }
  if (status == kDone) return {};
  return {status, "the source failed with status " + std::to_string(status) + said.first_line()};
}

/// The value of daemon.listen without a listener.
constexpr const char* kNowhere = "off";

class DaemonCommand final : public Command {
 public:
  void define(Definition& definition) override {
    definition.setting("-j,--jobs", "daemon.jobs", "N", "How many sources run at a time");
    definition.setting("--gc-interval", "daemon.gc-interval", "D",
                       "How often to do what gc does: 1h, never");
    definition.setting("--listen", "daemon.listen", "ADDRESS",
                       "Answer HTTP requests there: 127.0.0.1:9100");
    definition.footer(
        "Makes the values of the entries that are configured with warm = true, and makes them\n"
        "anew before they expire; what fails is tried again. Stays in the foreground and logs to\n"
        "standard error. SIGHUP reads the configuration anew, SIGTERM ends it within 5 seconds.\n"
        "No daemon is ever needed: it does what cachectl refresh and gc do, by the same locks.");
  }

  Result<int> execute(Session& session) override {
    session_ = &session;
    for (const char* name : {"CACHECTL_LOCK", "CACHECTL_LEASE"}) {
      if (const char* held = ::getenv(name); held == nullptr || *held == '\0') continue;
      return fail(Errc::usage,
                  std::string("inside a lock of the cache (") + name +
                      " is set) its own work would wait for that",
                  "start it outside");
    }
    CACHECTL_ASSIGN(auto notify, daemon::Notify::adopt());
    CACHECTL_TRY(claim());
    CACHECTL_ASSIGN(auto board, daemon::Board::create());
    daemon::Duties duties;
    duties.load = [this] { return load(); };
    duties.refresh = [this](const std::string& name, std::chrono::nanoseconds new_enough) {
      return refresh(name, new_enough);
    };
    duties.collect = [this] { return collect(); };
    duties.serve = [this](const daemon::Notice& notice) {
      DaemonPages pages(*current_, notice);
      return daemon::serve(listener_.get(), [&](std::string_view path) { return pages.at(path); });
    };
    duties.follow = [this] { return follow(); };
    duties.check = [this] { return claim(); };
    duties.log = [this](const std::string& line) { session_->tell("daemon: " + line); };
    daemon::Daemon loop(std::move(duties), std::move(notify), std::move(board));
    CACHECTL_TRY(loop.run());
    return kDone;
  }

 private:
  /// The root, made where it is missing, and the right to be its daemon. That the root is
  /// out of order for a while ends no daemon that has it.
  Result<void> claim() {
    CACHECTL_ASSIGN(const auto* settings, session_->settings());
    CACHECTL_ASSIGN(const auto path, config::resolve_root(*settings));
    const auto sharing = settings->shared ? store::Sharing::group : store::Sharing::owner_only;
    auto root = store::Root::open_or_create(path, sharing);
    if (!root) return instance_ ? Result<void>() : fail(std::move(root).error());
    if (instance_ && instance_->holds(root->directory())) return {};
    auto claimed = daemon::Instance::claim(root->directory(), root->file_mode());
    if (claimed) {
      instance_ = std::move(*claimed);
    } else if (!instance_ || claimed.error().code == Errc::refused) {
      return fail(std::move(claimed).error());
    }
    return {};
  }

  Result<Plan> load() {
    CACHECTL_ASSIGN(const auto* started, session_->settings());
    auto next = session_->anew();
    CACHECTL_ASSIGN(const auto* settings, next->settings());
    if (settings->root != started->root) {
      return fail(Errc::config, "the root is " + settings->root + " now, not " + started->root,
                  "start the daemon anew");
    }
    CACHECTL_ASSIGN(auto plan, plan_of(*next));
    CACHECTL_TRY(listen(settings->daemon_listen));
    plan.listener = listener_.get();
    CACHECTL_ASSIGN(const auto servers, redis_servers(*settings));
    plan.follows = servers.has_value();
    shares_ = plan.follows;
    current_ = std::move(next);
    return plan;
  }

  /// The socket is the daemon's, so that requests wait while what answers them starts anew.
  Result<void> listen(const std::string& address) {
    if (address == listens_at_) return {};
    lock::Fd opened;
    if (address != kNowhere) {
      CACHECTL_ASSIGN(opened, daemon::listen_on(address));
      session_->tell("daemon: listening at http://" + daemon::address_of(opened.get()));
    }
    listener_ = std::move(opened);
    listens_at_ = address;
    return {};
  }

  WorkReport refresh(const std::string& name, std::chrono::nanoseconds new_enough) {
    const auto done = try_refresh(name, new_enough);
    return done ? *done : WorkReport{exit_status_of(done.error().code), done.error().describe()};
  }

  Result<WorkReport> try_refresh(const std::string& name, std::chrono::nanoseconds new_enough) {
    std::string warning;
    current_->tell_warnings_to([&](const Error& what) { warning = what.describe(); });
    CACHECTL_ASSIGN(const auto listener, Listener::create());
    CACHECTL_ASSIGN(const Key key, Key::from(name));
    CACHECTL_ASSIGN(auto configured, find_configured(*current_, key));
    CACHECTL_ASSIGN(const Cache* cache, current_->cache());
    configured->policy.force = true;
    if (shares_ && configured->entry.tiers == Tiers::all) {
      const bool any = new_enough == std::chrono::nanoseconds::max();
      configured->policy.forced_before = any ? WallTime::min() : cache->clock().now() - new_enough;
    }
    CACHECTL_ASSIGN(const auto result, cache->run(key, configured->source, configured->policy,
                                                  {-1, listener.descriptor()}));
    auto report = report_of(result, listener, warning);
    if (report.status == 0 && result.how == refresh::How::shared) {
      CACHECTL_ASSIGN(const auto found, cache->inspect(key));
      if (found.entry && found.entry->header().generation == result.generation) {
        const auto ago = cache->clock().now() - refresh::begun(found.entry->header());
        report.text = std::to_string(ago.count());
      }
    }
    return report;
  }

  WorkReport follow() {
    const auto cache = current_->cache();
    const auto following = cache ? (*cache)->follow_fleet(kept()) : nullptr;
    // What is wrong was told. The daemon ends us when the configuration changes.
    ::pause();
    return {};
  }

  [[nodiscard]] std::vector<refresh::Coherence::Kept> kept() const {
    std::vector<refresh::Coherence::Kept> all;
    const auto settings = current_->settings();
    if (!settings) return all;
    for (const auto& [name, entry] : warm_entries(**settings)) {
      auto key = Key::from(name);
      if (key) all.push_back({std::move(*key), policy_of(entry, **settings).retention});
    }
    return all;
  }

  WorkReport collect() {
    const auto report = collect_garbage(*current_, store::DryRun::no);
    if (!report) return {exit_status_of(report.error().code), report.error().describe()};
    if (report->problems.empty()) return {};
    return {kFailed, report->problems.front().describe()};
  }

  Session* session_ = nullptr;        // as the daemon was started
  std::unique_ptr<Session> current_;  // by the configuration in force
  std::optional<daemon::Instance> instance_;
  bool shares_ = false;  // values, with other machines
  lock::Fd listener_;
  std::string listens_at_ = kNowhere;  // as it was configured
};

}  // namespace

std::unique_ptr<Command> make_daemon() { return std::make_unique<DaemonCommand>(); }

}  // namespace cachectl::cli
