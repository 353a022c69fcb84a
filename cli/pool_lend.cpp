// cachectl pool exec|checkout|checkin: replicas that are handed out and come back.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "cli/configured.hpp"
#include "cli/pool_actions.hpp"
#include "lock/child.hpp"
#include "src/pool/overlay.hpp"

namespace cachectl::cli {

namespace {

/// A replica that we hold, and the value that it is a copy of.
struct Held {
  Key key;
  pool::Pool pool;
  pool::Slot slot;
  store::Tree primary;
};

/// Takes a slot, and makes the value fresh if it is not. A status instead: of the source
/// that failed, or of a wait that was too long.
struct HeldOrStatus {
  std::optional<Held> held;
  int status = kDone;
};
Result<HeldOrStatus> take(Session& session, const PoolArguments& arguments, bool overlay,
                          const std::string& owner) {
  CACHECTL_ASSIGN(Key key, pool_key(arguments));
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  CACHECTL_ASSIGN(auto chosen, pool_options(session, key));
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
  if (!slot) {
    return fail(
        Errc::timeout,
        "gave up waiting for a replica of '" + key.printable() + "', held: " + holders(pool),
        "raise pool.max, or wait longer with --timeout");
  }
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

Result<lock::Child> spawn(const Held& held, const std::vector<std::string>& argv,
                          const lock::SignalTrap& trap, std::function<bool()> in_child) {
  lock::Command command;
  command.argv = argv;
  command.environment.push_back("CACHECTL_REPLICA=" + held.slot.path());
  // As long as a process of it lives, the replica is its own, and the value stays.
  command.keep_open = {held.slot.descriptor(), held.primary.descriptor()};
  command.in_child = std::move(in_child);
  return lock::Child::spawn(command, &trap.previous_mask());
}

}  // namespace

Result<int> pool_exec(Session& session, const PoolArguments& arguments) {
  if (arguments.command.empty()) {
    return fail(Errc::usage, "no command given", "cachectl pool exec NAME -- COMMAND");
  }
  const auto owner = fmt::format("pid {} ({})", ::getpid(), lock::shell_quoted(arguments.command));
  CACHECTL_ASSIGN(auto taken, take(session, arguments, true, owner));
  if (!taken.held) return taken.status;
  auto& held = *taken.held;
  CACHECTL_ASSIGN(const auto chosen, pool_options(session, held.key));
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
    auto mounted =
        spawn(held, arguments.command, trap,
              pool::mount_overlay(held.slot, held.key.hash(), held.primary.generation()));
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
    CACHECTL_ASSIGN(auto started, spawn(held, arguments.command, trap, {}));
    child.emplace(std::move(started));
  }
  CACHECTL_ASSIGN(const auto status, child->wait(&trap));
  CACHECTL_TRY(held.pool.give_back(held.slot));
  return status.value;
}

Result<int> pool_checkout(Session& session, const PoolArguments& arguments) {
  CACHECTL_ASSIGN(const auto duration, arguments.owner.duration());
  CACHECTL_ASSIGN(const auto owner, arguments.owner.owner());
  const auto who = fmt::format("pid {} ({})", owner.identity().pid, owner.command());
  CACHECTL_ASSIGN(auto taken, take(session, arguments, false, who));
  if (!taken.held) return taken.status;
  auto& held = *taken.held;
  CACHECTL_ASSIGN(const auto chosen, pool_options(session, held.key));
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

namespace {

int not_lent(const Session& session, const std::string& path) {
  [[maybe_unused]] const int failed =
      session.report({Errc::lease_lost, 0, "pool: nobody has checked out " + escaped(path), {}});
  return kNo;
}

Result<void> publish(Session& session, const Cache& cache, const Key& key,
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

}  // namespace

Result<int> pool_checkin(Session& session, const PoolArguments& arguments) {
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(auto lent, cache->find_replica(arguments.name));
  if (!lent) {
    std::error_code unknown;
    const auto path = std::filesystem::weakly_canonical(arguments.name, unknown).native();
    CACHECTL_ASSIGN(lent, cache->find_replica(path));
  }
  if (!lent) {
    return fail(Errc::usage, "'" + escaped(arguments.name) + "' is no replica of this cache",
                "give the path that checkout printed");
  }
  const auto id = lease::Id::parse(lent->state.lease);
  if (!id) return not_lent(session, arguments.name);
  if (arguments.publish) {
    CACHECTL_ASSIGN(const auto lease, cache->find_lease(*id));
    if (!lease || !lease->alive) return not_lent(session, arguments.name);
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

}  // namespace cachectl::cli
