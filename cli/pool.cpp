// cachectl pool checkout|checkin|exec|list|resize|reset|drain
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/json.hpp"
#include "cli/owner_option.hpp"
#include "cli/wait_options.hpp"
#include "lock/child.hpp"
#include "src/config/duration.hpp"
#include "src/config/nearest.hpp"
#include "src/config/size.hpp"
#include "src/pool/overlay.hpp"

namespace cachectl::cli {

namespace {

pool::Reset reset_of(config::PoolReset reset) {
  switch (reset) {
    case config::PoolReset::no:
      return pool::Reset::no;
    case config::PoolReset::dirty:
      return pool::Reset::dirty;
    case config::PoolReset::always:
      break;
  }
  return pool::Reset::always;
}

std::optional<pool::Way> way_of(config::PoolCopy copy) {
  switch (copy) {
    case config::PoolCopy::automatic:
      break;
    case config::PoolCopy::overlay:
      return pool::Way::overlay;
    case config::PoolCopy::reflink:
      return pool::Way::reflink;
    case config::PoolCopy::hardlink:
      return pool::Way::hard_link;
    case config::PoolCopy::copy:
      return pool::Way::copy;
  }
  return std::nullopt;
}

/// One line on a terminal, from the second second on.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (shown_) say("\r\x1b[K");
  }
  ProgressLine() = default;
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void operator()(const tree::Progress& done) {
    const auto now = std::chrono::steady_clock::now();
    if (now - start_ < std::chrono::seconds(1) || now - last_ < std::chrono::milliseconds(200)) {
      return;
    }
    last_ = now;
    shown_ = true;
    say(fmt::format("\rcopying the replica: {} files, {}\x1b[K", done.files,
                    config::format_size(done.bytes)));
  }

 private:
  static void say(const std::string& text) {
    [[maybe_unused]] const auto told =
        lock::write_all(STDERR_FILENO, lock::bytes_of(text), "standard error");
  }
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_;
  bool shown_ = false;
};

class PoolCommand final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("ACTION", action_, "What to do, see below", true);
    definition.positional("NAME", name_, "The key; for checkin the path of a replica", false);
    definition.positional("N", number_, "For resize: how many", false);
    owner_.define(definition);
    definition.flag("--publish", publish_, "checkin: the replica becomes the value of the key");
    definition.flag("--json", json_, "list: as JSON lines");
    define_timeout(definition);
    definition.command_behind_dashes(command_);
    definition.footer(
        "exec NAME -- COMMAND  run COMMAND with a replica of its own, at $CACHECTL_REPLICA\n"
        "checkout NAME         print the path of a replica that is the caller's own\n"
        "checkin PATH          give it back\n"
        "list NAME             the replicas, who has them, and how they were made\n"
        "resize NAME N         make replicas, or remove idle ones, until there are N\n"
        "reset NAME            make idle replicas like new\n"
        "drain NAME            wait for all replicas and remove them\n"
        "A replica is a private, writable copy of a value that is a file or directory. It is\n"
        "brought up to date when it is taken, and the value too if it has expired and has a\n"
        "source ([entries.NAME] in the configuration). When its owner ends, it is free.");
  }

  Result<int> execute(Session& session) override {
    struct Action {
      std::string_view name;
      Result<int> (PoolCommand::*run)(Session&);
    };
    constexpr std::array<Action, 7> kActions{{{"exec", &PoolCommand::exec},
                                              {"checkout", &PoolCommand::checkout},
                                              {"checkin", &PoolCommand::checkin},
                                              {"list", &PoolCommand::list},
                                              {"resize", &PoolCommand::resize},
                                              {"reset", &PoolCommand::reset},
                                              {"drain", &PoolCommand::drain}}};
    std::array<std::string_view, kActions.size()> names;
    for (std::size_t i = 0; i < kActions.size(); ++i) {
      names.at(i) = kActions.at(i).name;
      if (kActions.at(i).name == action_) return (this->*kActions.at(i).run)(session);
    }
    return fail(Errc::usage, "unknown action '" + escaped(action_) + "'",
                config::did_you_mean(config::nearest(action_, names)));
  }

 private:
  /// A replica that we hold, and the value that it is a copy of.
  struct Held {
    Key key;
    pool::Pool pool;
    pool::Slot slot;
    store::Tree primary;
  };

  [[nodiscard]] Result<Key> key() const {
    if (name_.empty())
      return fail(Errc::usage, "no name given", "cachectl pool " + action_ + " NAME");
    return Key::from(name_);
  }

  [[nodiscard]] Result<pool::Options> options(Session& session, const Key& key) const {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    const auto found = settings->entries.find(key.bytes());
    const config::EntrySettings defaults;
    const auto& entry = found == settings->entries.end() ? defaults : found->second;
    pool::Options options;
    options.most = static_cast<unsigned>(entry.pool_max);
    options.reset = reset_of(entry.pool_reset);
    options.way = way_of(entry.pool_copy);
    if (is_terminal(STDERR_FILENO)) {
      options.progress = [line = std::make_shared<ProgressLine>()](const tree::Progress& done) {
        (*line)(done);
      };
    }
    return options;
  }

  /// Takes a slot, and makes the value fresh if it is not. A status instead: of the source
  /// that failed, or of a wait that was too long.
  struct HeldOrStatus {
    std::optional<Held> held;
    int status = kDone;
  };
  [[nodiscard]] Result<HeldOrStatus> take(Session& session, bool overlay,
                                          const std::string& owner) const {
    CACHECTL_ASSIGN(Key key, this->key());
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(auto chosen, options(session, key));
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(const auto found, cache->inspect(key));
    store::Generation wanted = 0;
    if (found.entry) wanted = found.entry->header().tree_generation;
    if (wanted == 0) {
      CACHECTL_ASSIGN(const auto configured, find_configured(session, key));
      if (!configured) {
        return fail(Errc::config,
                    "'" + key.printable() + "' is no file or directory, and has no source",
                    "store one with cachectl set --dir, or add [entries." + key.printable() + "]");
      }
    }
    CACHECTL_ASSIGN(auto pool, cache->pool(key, std::move(chosen)));
    const auto deadline = lock::Deadline::after(settings->timeout);
    CACHECTL_ASSIGN(auto slot, pool.take(wanted, overlay, deadline, owner));
    if (!slot) return fail(exhausted(key, pool));
    auto primary = tree_of(session, key);
    if (!primary || !primary->tree) {
      CACHECTL_TRY(pool.give_back(*slot));
      if (!primary) return fail(std::move(primary).error());
      if (primary->status != kDone) return HeldOrStatus{std::nullopt, primary->status};
      return fail(Errc::config,
                  "the value of '" + key.printable() + "' has expired, and has no source",
                  "store it again, or add a source to [entries." + key.printable() + "]");
    }
    return HeldOrStatus{
        Held{std::move(key), std::move(pool), std::move(*slot), std::move(*primary->tree)}, kDone};
  }

  static Error exhausted(const Key& key, const pool::Pool& pool) {
    std::string holders;
    if (const auto slots = pool.list()) {
      for (const auto& slot : *slots) {
        if (slot.condition != pool::Condition::leased) continue;
        holders += fmt::format("{}replica {} by {}", holders.empty() ? "" : "; ", slot.number,
                               slot.state.owner.empty() ? "somebody" : slot.state.owner);
      }
    }
    return {Errc::timeout, 0,
            "gave up waiting for a replica of '" + key.printable() + "', held: " + holders,
            "raise pool.max, or wait longer with --timeout"};
  }

  Result<int> exec(Session& session) {
    if (command_.empty()) {
      return fail(Errc::usage, "no command given", "cachectl pool exec NAME -- COMMAND");
    }
    const auto owner = fmt::format("pid {} ({})", ::getpid(), lock::shell_quoted(command_));
    CACHECTL_ASSIGN(auto taken, take(session, true, owner));
    if (!taken.held) return taken.status;
    auto& held = *taken.held;
    CACHECTL_ASSIGN(const auto chosen, options(session, held.key));
    CACHECTL_ASSIGN(const auto value, held.primary.directory().status(store::StagedTree::kValue));
    const bool is_directory = value && S_ISDIR(value->st_mode);
    const bool is_copy = held.slot.state().status == pool::Status::ready &&
                         held.slot.state().way != pool::Way::overlay &&
                         held.slot.state().generation == held.primary.generation();
    const bool forced = chosen.way == pool::Way::overlay;
    const bool overlay = is_directory && (forced || (!chosen.way && !is_copy));
    CACHECTL_ASSIGN(const auto trap, lock::SignalTrap::create());
    std::optional<lock::Child> child;
    std::string why;
    if (overlay) {
      CACHECTL_TRY(held.pool.prepare_overlay(held.slot, held.primary));
      auto mounted = spawn(
          held, trap, pool::mount_overlay(held.slot, held.key.hash(), held.primary.generation()));
      if (!mounted && (forced || mounted.error().code != Errc::unsupported)) {
        return fail(std::move(mounted).error());
      }
      if (mounted) child.emplace(std::move(*mounted));
      if (!mounted) why = "no overlay: " + mounted.error().message;
    } else if (forced) {
      return fail(Errc::unsupported, "a file cannot be an overlay");
    }
    if (!child) {
      CACHECTL_TRY(held.pool.prepare(held.slot, held.primary, why));
      CACHECTL_ASSIGN(auto started, spawn(held, trap, {}));
      child.emplace(std::move(started));
    }
    CACHECTL_ASSIGN(const auto status, child->wait(&trap));
    CACHECTL_TRY(held.pool.give_back(held.slot));
    return status.value;
  }

  [[nodiscard]] Result<lock::Child> spawn(const Held& held, const lock::SignalTrap& trap,
                                          std::function<bool()> in_child) const {
    lock::Command command;
    command.argv = command_;
    command.environment.push_back("CACHECTL_REPLICA=" + held.slot.path());
    // As long as a process of it lives, the replica is its own, and the value stays.
    command.keep_open = {held.slot.descriptor(), held.primary.descriptor()};
    command.in_child = std::move(in_child);
    return lock::Child::spawn(command, &trap.previous_mask());
  }

  Result<int> checkout(Session& session) {
    CACHECTL_ASSIGN(const auto duration, owner_.duration());
    CACHECTL_ASSIGN(const auto owner, owner_.owner());
    const auto who = fmt::format("pid {} ({})", owner.identity().pid, owner.command());
    CACHECTL_ASSIGN(auto taken, take(session, false, who));
    if (!taken.held) return taken.status;
    auto& held = *taken.held;
    CACHECTL_ASSIGN(const auto chosen, options(session, held.key));
    if (chosen.way == pool::Way::overlay) {
      return fail(Errc::usage, "an overlay is seen by one command only", "use cachectl pool exec");
    }
    CACHECTL_TRY(held.pool.prepare(held.slot, held.primary));
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(const auto lease, cache->lend(held.key, held.slot, owner, duration));
    CACHECTL_TRY(held.pool.note_owner(held.slot, lease.id().text(), who));
    CACHECTL_TRY(session.print(held.slot.path() + "\n"));
    CACHECTL_TRY(lease.confirm());
    return kDone;
  }

  Result<int> checkin(Session& session) {
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(auto lent, cache->find_replica(name_));
    if (!lent) {
      std::error_code unknown;
      const auto path = std::filesystem::weakly_canonical(name_, unknown).native();
      CACHECTL_ASSIGN(lent, cache->find_replica(path));
    }
    if (!lent) {
      return fail(Errc::usage, "'" + escaped(name_) + "' is no replica of this cache",
                  "give the path that checkout printed");
    }
    const auto id = lease::Id::parse(lent->state.lease);
    if (!id) return not_lent(session);
    if (publish_) {
      CACHECTL_ASSIGN(const auto lease, cache->find_lease(*id));
      if (!lease || !lease->alive) return not_lent(session);
      // Held by us as well until it is published: nobody else gets it meanwhile.
      CACHECTL_ASSIGN(const auto held, cache->hold_replica(*id));
      CACHECTL_ASSIGN(const Key key, Key::from(lease->description.key.value_or("")));
      CACHECTL_TRY(publish(session, *cache, key, lent->path));
    }
    auto released = cache->release(*id);
    if (released) return kDone;
    if (released.error().code != Errc::lease_lost) return fail(std::move(released).error());
    CACHECTL_TRY(cache->take_back(lent->path, id->text()));
    [[maybe_unused]] const int failed = session.report(std::move(released).error().within("pool"));
    return kNo;
  }

  [[nodiscard]] Result<int> not_lent(Session& session) const {
    [[maybe_unused]] const int failed =
        session.report({Errc::lease_lost, 0, "pool: nobody has checked out " + escaped(name_), {}});
    return kNo;
  }

  static Result<void> publish(Session& session, const Cache& cache, const Key& key,
                              const std::string& path) {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    const auto configured = settings->entries.find(key.bytes());
    SetPolicy policy;
    const bool has_ttl =
        configured != settings->entries.end() &&
        (configured->second.given.contains("ttl") || configured->second.given.contains("source"));
    policy.ttl = has_ttl ? configured->second.ttl : settings->set_ttl;
    policy.deadline = lock::Deadline::after(settings->timeout);
    policy.durability = Session::durability(*settings);
    policy.retention = retention(*settings);
    CACHECTL_TRY(cache.set_tree(key, path, policy));
    return {};
  }

  Result<int> list(Session& session) {
    CACHECTL_ASSIGN(const auto key, this->key());
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(auto chosen, options(session, key));
    CACHECTL_ASSIGN(const auto pool, cache->find_pool(key, std::move(chosen)));
    if (!pool) return kNo;
    CACHECTL_ASSIGN(const auto slots, pool->list());
    std::string text;
    for (const auto& slot : slots) {
      const bool lent = slot.condition == pool::Condition::leased;
      const auto owner = lent ? escaped(slot.state.owner) : std::string();
      if (json_) {
        Json object;
        put_bytes(object, "key", key.bytes());
        object["slot"] = slot.number;
        object["state"] = pool::name_of(slot.condition);
        object["generation"] = slot.state.generation;
        object["made_by"] = pool::name_of(slot.state.way);
        object["why"] = escaped(slot.state.why);
        object["owner"] = owner;
        object["lease"] = lent ? slot.state.lease : "";
        object["since"] = iso_time(slot.state.since);
        object["path"] = escaped(slot.path);
        text += one_line(object) + "\n";
        continue;
      }
      text += fmt::format("{:>2}  {:<7} {:<9} {}{}{}\n", slot.number, pool::name_of(slot.condition),
                          pool::name_of(slot.state.way), escaped(slot.path),
                          owner.empty() ? "" : "  ", owner);
      if (!slot.state.why.empty()) text += fmt::format("             ({})\n", slot.state.why);
    }
    CACHECTL_TRY(session.print(text));
    return slots.empty() ? kNo : kDone;
  }

  Result<int> resize(Session& session) {
    unsigned wanted = 0;
    const auto [end, error] =
        std::from_chars(number_.data(), number_.data() + number_.size(), wanted);
    if (error != std::errc() || end != number_.data() + number_.size() || wanted > pool::kMost) {
      return fail(Errc::usage, "'" + escaped(number_) + "' is no number of replicas",
                  fmt::format("give one from 0 to {}", pool::kMost));
    }
    CACHECTL_ASSIGN(const auto key, this->key());
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(auto chosen, options(session, key));
    if (wanted > chosen.most) {
      return fail(Errc::usage,
                  fmt::format("{} replicas are more than pool.max, {}", wanted, chosen.most),
                  "raise pool.max in the configuration");
    }
    chosen.reset = pool::Reset::dirty;
    CACHECTL_ASSIGN(const auto pool, cache->pool(key, std::move(chosen)));
    CACHECTL_TRY(pool.trim(wanted, false));
    if (wanted == 0) return kDone;
    CACHECTL_ASSIGN(const auto primary, tree_of(session, key));
    if (!primary.tree) return primary.status != kDone ? primary.status : kNo;
    for (unsigned number = 1; number <= wanted; ++number) {
      CACHECTL_ASSIGN(auto slot, pool.try_take(number));
      if (slot) CACHECTL_TRY(pool.prepare(*slot, *primary.tree));
    }
    return kDone;
  }

  Result<int> reset(Session& session) {
    CACHECTL_ASSIGN(const auto key, this->key());
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(auto chosen, options(session, key));
    if (chosen.reset == pool::Reset::no) chosen.reset = pool::Reset::dirty;
    CACHECTL_ASSIGN(const auto pool, cache->find_pool(key, std::move(chosen)));
    if (!pool) return kNo;
    CACHECTL_ASSIGN(const auto primary, tree_of(session, key));
    if (!primary.tree) return primary.status != kDone ? primary.status : kNo;
    CACHECTL_ASSIGN(const auto slots, pool->list());
    for (const auto& known : slots) {
      if (known.condition == pool::Condition::leased || known.condition == pool::Condition::empty) {
        continue;
      }
      CACHECTL_ASSIGN(auto slot, pool->try_take(known.number));
      if (!slot) continue;
      CACHECTL_TRY(slot->state().way == pool::Way::overlay
                       ? pool->prepare_overlay(*slot, *primary.tree)
                       : pool->prepare(*slot, *primary.tree));
    }
    return kDone;
  }

  Result<int> drain(Session& session) {
    CACHECTL_ASSIGN(const auto key, this->key());
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    CACHECTL_ASSIGN(auto chosen, options(session, key));
    CACHECTL_ASSIGN(const auto pool, cache->find_pool(key, std::move(chosen)));
    if (!pool) return kDone;
    const auto deadline = lock::Deadline::after(settings->timeout);
    CACHECTL_ASSIGN(const bool empty, pool->drain(deadline));
    if (!empty) return fail(exhausted(key, *pool));
    return kDone;
  }

  std::string action_;
  std::string name_;
  std::string number_;
  OwnerOption owner_;
  bool publish_ = false;
  bool json_ = false;
  std::vector<std::string> command_;
};

}  // namespace

std::unique_ptr<Command> make_pool() { return std::make_unique<PoolCommand>(); }

}  // namespace cachectl::cli
