// cachectl status [--json]
#include <fmt/format.h>
#include <unistd.h>

#include "cli/breaker_words.hpp"
#include "cli/columns.hpp"
#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/lock_rows.hpp"
#include "cli/paint.hpp"
#include "cli/remote_options.hpp"
#include "src/config/size.hpp"

namespace cachectl::cli {

namespace {

using pool::Condition;
using status::Process;

/// More of a kind than a person reads.
constexpr std::size_t kMostRows = 20;
constexpr std::array<Condition, 5> kConditions{Condition::free, Condition::leased, Condition::dirty,
                                               Condition::broken, Condition::empty};

WallTime wall(std::chrono::sys_seconds time) { return WallTime(time); }

class StatusCommand final : public Command {
 public:
  void define(Definition& definition) override {
    definition.flag("--json", json_, "As a JSON object");
    definition.footer(
        "What is cached, by the stale windows that it was stored with; the locks that are held,\n"
        "by whom, and who waits for them, as far as the system tells (it tells of your own\n"
        "processes, and root of all); leases; pools; the daemon; the Redis server and whether it\n"
        "is left alone, without asking it. 'cachectl show KEY' tells of one key, 'cachectl redis'\n"
        "of the server, and 'cachectl lease list' of all leases.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_ASSIGN(const auto status, status::take(*cache));
    settings_ = settings;
    root_ = cache->path();
    CACHECTL_ASSIGN(const auto* root, cache->root());
    CACHECTL_TRY(look_at_servers(*settings, root));
    width_ = columns_of(STDOUT_FILENO);
    CACHECTL_TRY(session.print(json_ ? as_json(status) : as_text(status)));
    return kDone;
  }

 private:
  using Status = status::Status;

  /// That is configured; of a cluster and of sentinels, those that are named.
  struct Server {
    std::string_view kind;  ///< "server", "cluster", "sentinel"
    std::string address;
    remote::Breaker::Look breaker;
  };

  [[nodiscard]] Result<void> look_at_servers(const config::Settings& settings,
                                             const store::Root* root) {
    CACHECTL_ASSIGN(const auto options, redis_servers(settings));
    if (!options) return {};
    constexpr std::array<std::string_view, 3> kKinds{"server", "cluster", "sentinel"};
    auto addresses = options->seeds;
    if (options->topology == remote::Topology::single) addresses = {options->server};
    for (const auto& address : addresses) {
      auto& server = servers_.emplace_back();
      server.kind = kKinds.at(static_cast<std::size_t>(options->topology));
      server.address = address.describe();
      if (root != nullptr) {
        server.breaker = remote::Breaker::look(root->directory(), server.address);
      }
    }
    return {};
  }

  // Text.

  /// What somebody should look at.
  [[nodiscard]] std::string alarming(const std::string& text, bool is_so) const {
    return is_so ? paint_.yellow(text) : text;
  }
  [[nodiscard]] std::string line(const std::string& text) const { return cut(text, width_) + "\n"; }

  [[nodiscard]] std::string as_text(const Status& status) const {
    auto text = fmt::format("{:<9}", "cache") + escaped(root_) +
                (status.exists ? "" : ": not there yet") + "\n";
    if (!status.exists) return text;
    const auto& entries = status.entries;
    text += fmt::format("{:<9}{}", "entries", entries.count);
    if (entries.count > 0) {
      text += fmt::format(": {} fresh, {} stale, {} expired; {} trees", entries.fresh,
                          entries.stale, entries.expired, entries.trees);
    }
    if (entries.damaged > 0) {
      text += "; " + alarming(fmt::format("{} damaged", entries.damaged), true);
    }
    text += '\n';
    text += fmt::format("{:<9}{}\n", "size", size_text(entries));
    text += fmt::format("{:<9}{}\n", "daemon", daemon_text(status));
    for (const auto& server : servers_) {
      text += fmt::format("{:<9}{}; breaker ", server.kind, escaped(server.address)) +
              alarming(text_of(server.breaker), server.breaker.is_open) + "\n";
    }
    if (status.superseded + status.staged > 0) {
      text += fmt::format("{:<9}{} superseded trees, {} staged files\n", "beside",
                          status.superseded, status.staged);
    }
    add_locks(status, text);
    add_leases(status, text);
    add_pools(status, text);
    return text;
  }

  [[nodiscard]] std::string size_text(const status::Entries& entries) const {
    auto text = config::format_size(entries.bytes);
    if (settings_->gc_max_size != config::unlimited) {
      text += " of " + config::format_size(settings_->gc_max_size) + " (gc.max-size)";
    }
    if (settings_->gc_max_entries != config::unlimited) {
      text += fmt::format("; {} of {} entries (gc.max-entries)", entries.count,
                          settings_->gc_max_entries);
    }
    return text;
  }

  [[nodiscard]] static std::string daemon_text(const Status& status) {
    if (!status.daemon) return "none runs";
    if (status.daemon->pid == 0) return "runs";
    return fmt::format("pid {}, since {}", status.daemon->pid, escaped(status.daemon->since));
  }

  void add_locks(const Status& status, std::string& text) const {
    if (status.locks.empty()) return;
    text += "\n" + paint_.bold(std::string(kLockHeading)) + "\n";
    for (std::size_t each = 0; each < std::min(status.locks.size(), kMostRows); ++each) {
      for (const auto& row : lock_rows(status.locks[each], status.now, width_)) text += row + "\n";
    }
    text += rest_of(status.locks.size(), "--json");
  }

  void add_leases(const Status& status, std::string& text) const {
    if (status.leases.empty()) return;
    text += "\n" +
            paint_.bold(fmt::format("{:<16}  {:<22} {:>8} {:>8}  {}", "LEASE", "HOLDS", "SINCE",
                                    "LEFT", "OF")) +
            "\n";
    for (std::size_t row = 0; row < std::min(status.leases.size(), kMostRows); ++row) {
      const auto& what = status.leases[row].description;
      const auto left =
          what.expires == kNever ? std::string("-") : short_form(what.expires - status.now);
      text += line(fmt::format("{:<16}  {:<22} {:>8} {:>8}  {}", status.leases[row].id.text(),
                               cut(what.holds(), 22), short_form(status.now - what.since), left,
                               who({what.owner.pid, what.command})));
    }
    text += rest_of(status.leases.size(), "cachectl lease list");
  }

  void add_pools(const Status& status, std::string& text) const {
    if (status.pools.empty()) return;
    text += "\n" +
            paint_.bold(fmt::format("{:<30} {:>6} {:>7} {:>6} {:>7} {:>6}", "POOL", "FREE",
                                    "LEASED", "DIRTY", "BROKEN", "EMPTY")) +
            "\n";
    for (std::size_t row = 0; row < std::min(status.pools.size(), kMostRows); ++row) {
      const auto& pool = status.pools[row];
      const auto name = pool.key.empty() ? "? " + pool.hash.hex() : escaped(pool.key);
      const auto broken = pool.number_of(Condition::broken);
      text +=
          fmt::format("{:<30} {:>6} {:>7} {:>6} ", cut(name, 30), pool.number_of(Condition::free),
                      pool.number_of(Condition::leased), pool.number_of(Condition::dirty)) +
          alarming(fmt::format("{:>7}", broken), broken > 0) +
          fmt::format(" {:>6}\n", pool.number_of(Condition::empty));
    }
    text += rest_of(status.pools.size(), "cachectl pool list");
  }

  static std::string rest_of(std::size_t rows, std::string_view where) {
    if (rows <= kMostRows) return {};
    return fmt::format("... and {} more: {}\n", rows - kMostRows, where);
  }

  // JSON.

  [[nodiscard]] std::string as_json(const Status& status) const {
    const auto limit = [](std::uint64_t most) {
      return most == config::unlimited ? Json() : Json(most);
    };
    const auto& entries = status.entries;
    Json object;
    object["version"] = 1;
    object["root"] = escaped(root_);
    object["exists"] = status.exists;
    object["entries"] = {{"count", entries.count}, {"fresh", entries.fresh},
                         {"stale", entries.stale}, {"expired", entries.expired},
                         {"trees", entries.trees}, {"damaged", entries.damaged},
                         {"bytes", entries.bytes}};
    object["limits"] = {{"bytes", limit(settings_->gc_max_size)},
                        {"entries", limit(settings_->gc_max_entries)}};
    object["superseded_trees"] = status.superseded;
    object["staged_files"] = status.staged;
    object["daemon"] = nullptr;
    if (status.daemon) {
      const auto& daemon = *status.daemon;
      object["daemon"] = {{"pid", daemon.pid == 0 ? Json() : Json(daemon.pid)},
                          {"since", daemon.since.empty() ? Json() : Json(escaped(daemon.since))}};
    }
    object["servers"] = Json::array();
    for (const auto& server : servers_) {
      object["servers"].push_back({{"kind", server.kind},
                                   {"address", escaped(server.address)},
                                   {"breaker", cli::json_of(server.breaker)}});
    }
    object["locks"] = Json::array();
    for (const auto& lock : status.locks) object["locks"].push_back(json_of(lock));
    object["leases"] = Json::array();
    for (const auto& lease : status.leases) object["leases"].push_back(json_of(lease));
    object["pools"] = Json::array();
    for (const auto& pool : status.pools) object["pools"].push_back(json_of(pool));
    return one_line(object) + "\n";
  }

  static Json json_of(const Process& process) {
    Json object;
    object["pid"] = process.pid == 0 ? Json() : Json(process.pid);
    put_bytes(object, "command", process.command);
    return object;
  }

  static Json json_of(const status::Lock& lock) {
    constexpr std::array<std::string_view, 3> kKinds{"cache", "key", "turn"};
    Json object;
    object["kind"] = kKinds.at(static_cast<std::size_t>(lock.kind));
    if (lock.key.empty()) {
      object["key"] = nullptr;
    } else {
      put_bytes(object, "key", lock.key);
    }
    object["mode"] = mode_of(lock.mode);
    object["depth"] = lock.depth;
    object["owner"] = json_of(lock.owner);
    object["since"] = lock.since ? Json(iso_time(wall(*lock.since))) : Json();
    object["holder_pids"] = lock.holders;
    object["waiting"] = lock.waiting;
    object["waiters"] = Json::array();
    for (const auto& waiter : lock.waiters) object["waiters"].push_back(json_of(waiter));
    return object;
  }

  static Json json_of(const lease::Lease& lease) {
    const auto& what = lease.description;
    Json object;
    object["id"] = lease.id.text();
    object["holds"] = what.holds();
    object["mode"] = mode_of(what.mode);
    object["owner"] = json_of(Process{what.owner.pid, what.command});
    object["since"] = iso_time(what.since);
    object["expires"] = what.expires == kNever ? Json() : Json(iso_time(what.expires));
    return object;
  }

  static Json json_of(const status::Pool& pool) {
    Json object;
    if (pool.key.empty()) {
      object["key"] = nullptr;
    } else {
      put_bytes(object, "key", pool.key);
    }
    object["hash"] = pool.hash.hex();
    for (const auto condition : kConditions) {
      object[std::string(pool::name_of(condition))] = pool.number_of(condition);
    }
    return object;
  }

  const config::Settings* settings_ = nullptr;
  std::vector<Server> servers_;
  std::string root_;
  std::size_t width_ = 80;
  Paint paint_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_status() { return std::make_unique<StatusCommand>(); }

}  // namespace cachectl::cli
