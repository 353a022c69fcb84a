// cachectl pool exec|checkout|checkin: replicas that are handed out and come back.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "cli/configured.hpp"
#include "cli/pool_actions.hpp"
#include "cli/watching.hpp"
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

/// A command that has the only replica would wait for itself.
Result<void> check_not_within(const pool::Pool& pool, const Key& key, unsigned most) {
  if (most > 1 || ::getenv("CACHECTL_REPLICA") == nullptr) return {};
  CACHECTL_ASSIGN(const auto slots, pool.list());
  if (std::none_of(slots.begin(), slots.end(), runs_with)) return {};
  return fail(Errc::usage,
              "would wait for itself: it runs with the only replica of '" + key.printable() + "'",
              "use that one, $CACHECTL_REPLICA, or raise pool.max");
}

/// Takes a slot, and makes the value fresh if it is not. A status instead: of the source
/// that failed, or of a wait that was too long.
struct HeldOrStatus {
  std::optional<Held> held;
  int status = kDone;
};
Result<HeldOrStatus> take(Session& session, Key key, pool::Options options,
                          const std::vector<Way>& ways, const std::string& owner) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(const auto found, cache->inspect(key));
  store::Generation wanted = 0;
  if (found.entry) wanted = found.entry->header().tree_generation;
  if (wanted == 0) CACHECTL_TRY(can_have_pool(session, *cache, key));
  const auto most = options.most;
  CACHECTL_ASSIGN(auto pool, cache->pool(key, std::move(options)));
  CACHECTL_TRY(check_not_within(pool, key, most));
  const auto deadline = lock::Deadline::after(settings->timeout);
  Watching watching(session, &key, "a replica of '" + key.printable() + "'",
                    [&pool] { return "held: " + holders(pool); });
  CACHECTL_ASSIGN(auto slot, pool.take(wanted, ways, watching.watched(deadline), owner));
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
    return fail(expired(key));
  }
  return HeldOrStatus{
      Held{std::move(key), std::move(pool), std::move(*slot), std::move(*primary->tree)}, kDone};
}

Result<lock::Child> spawn(const Session& session, const Held& held,
                          const std::vector<std::string>& argv, const lock::SignalTrap& trap,
                          std::function<bool()> in_child) {
  lock::Command command;
  command.argv = argv;
  command.environment.push_back("CACHECTL_REPLICA=" + held.slot.path());
  // As long as a process of it lives, the replica is its own, and the value stays.
  command.keep_open = {held.slot.descriptor(), held.primary.descriptor()};
  command.in_child = std::move(in_child);
  session.clear_progress();  // the terminal is the command's
  return lock::Child::spawn(command, &trap.previous_mask());
}

Result<lock::Child> start_in_overlay(const Session& session, Held& held,
                                     const std::vector<std::string>& argv,
                                     const lock::SignalTrap& trap, const std::string& why) {
  CACHECTL_TRY(held.pool.prepare_overlay(held.slot, held.primary, why));
  auto started = spawn(session, held, argv, trap,
                       pool::mount_overlay(held.slot, held.key.hash(), held.primary.generation()));
  if (!started && started.error().code == Errc::unsupported) {
    return fail(Errc::unsupported, system_error("overlay", started.error().system_error).message);
  }
  return started;
}

Result<lock::Child> start_in_copy(const Session& session, Held& held, const std::vector<Way>& ways,
                                  const std::vector<std::string>& argv,
                                  const lock::SignalTrap& trap, const std::string& why) {
  CACHECTL_TRY(held.pool.prepare(held.slot, held.primary, ways, why));
  return spawn(session, held, argv, trap, {});
}

/// Starts the command in a replica that is made in the first way that works.
Result<lock::Child> start(const Session& session, Held& held, std::vector<Way> ways,
                          const std::vector<std::string>& argv, const lock::SignalTrap& trap) {
  const auto& state = held.slot.state();
  const auto made = std::find(ways.begin(), ways.end(), state.way);
  const bool is_there = state.status == pool::Status::ready && made != ways.end() &&
                        state.generation == held.primary.generation();
  if (is_there) std::rotate(ways.begin(), made, made + 1);
  std::string why;
  for (auto way = ways.begin(); way != ways.end();) {
    const auto end = std::find(way, ways.end(), Way::overlay);
    auto started = way == end ? start_in_overlay(session, held, argv, trap, why)
                              : start_in_copy(session, held, {way, end}, argv, trap, why);
    if (started || started.error().code != Errc::unsupported) return started;
    why += (why.empty() ? "" : "; ") + started.error().message;
    way = way == end ? way + 1 : end;
  }
  return fail(no_way(held.key, why));
}

}  // namespace

Result<int> pool_exec(Session& session, const PoolArguments& arguments) {
  const auto owner = owner_text(::getpid(), lock::shell_quoted(arguments.command));
  CACHECTL_ASSIGN(const auto key, pool_key(arguments));
  CACHECTL_ASSIGN(const auto chosen, pool_options(session, key));
  CACHECTL_ASSIGN(auto taken, take(session, key, chosen, chosen.ways, owner));
  if (!taken.held) return taken.status;
  auto& held = *taken.held;
  CACHECTL_ASSIGN(const auto trap, lock::SignalTrap::create());
  CACHECTL_ASSIGN(auto child, start(session, held, chosen.ways, arguments.command, trap));
  // It has the replica for as long as it lives, whatever becomes of us. The number is for people.
  [[maybe_unused]] const auto noted = held.pool.note_owner(
      held.slot, "", owner_text(child.pid(), lock::shell_quoted(arguments.command)));
  CACHECTL_ASSIGN(const auto status, child.wait(&trap));
  CACHECTL_TRY(held.pool.give_back(held.slot));
  return status.value;
}

Result<int> pool_checkout(Session& session, const PoolArguments& arguments) {
  CACHECTL_ASSIGN(const auto duration, arguments.owner.duration());
  CACHECTL_ASSIGN(const auto owner, arguments.owner.owner());
  const auto who = owner_text(owner.identity().pid, owner.command());
  CACHECTL_ASSIGN(const auto key, pool_key(arguments));
  CACHECTL_ASSIGN(const auto chosen, pool_options(session, key));
  const auto ways = copying(chosen.ways);
  if (ways.empty()) {
    return fail(Errc::usage, "an overlay is seen by one command only", "use cachectl pool exec");
  }
  CACHECTL_ASSIGN(auto taken, take(session, key, chosen, ways, who));
  if (!taken.held) return taken.status;
  auto& held = *taken.held;
  auto made = held.pool.prepare(held.slot, held.primary, ways, {});
  if (!made && made.error().code == Errc::unsupported)
    return fail(no_way(key, made.error().message));
  if (!made) return fail(std::move(made).error());
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(const auto lease, cache->lend(held.key, held.slot, owner, duration));
  CACHECTL_TRY(held.pool.note_owner(held.slot, lease.id().text(), who));
  CACHECTL_TRY(session.print(held.slot.path() + "\n"));
  CACHECTL_TRY(lease.confirm());
  return kDone;
}

namespace {

int not_lent(const Session& session, const std::string& path) {
  [[maybe_unused]] const int failed = session.report(
      {Errc::lease_lost, 0, "pool: " + escaped(path) + " is not checked out, or no longer", {}});
  return kNo;
}

Result<void> publish(Session& session, const Cache& cache, const Key& key,
                     const std::string& path) {
  // One that was put in its place would be followed: what it names is no replica.
  std::error_code unknown;
  if (std::filesystem::is_symlink(std::filesystem::symlink_status(path, unknown))) {
    return fail(Errc::refused, path + ": is a symbolic link; a value is a file or a directory");
  }
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  const auto configured = settings->entries.find(key.bytes());
  SetPolicy policy;
  const bool has_ttl =
      configured != settings->entries.end() &&
      (configured->second.given.contains("ttl") || configured->second.given.contains("source"));
  policy.ttl = has_ttl ? configured->second.ttl : settings->set_ttl;
  Watching watching(session, cache, &key);
  policy.deadline = watching.watched(lock::Deadline::after(settings->timeout));
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
    if (!lease) return not_lent(session, arguments.name);
    CACHECTL_ASSIGN(const Key key, Key::from(lease->description.key.value_or("")));
    const auto publish_it = [&]() -> Result<void> {
      auto published = publish(session, *cache, key, lent->path);
      if (published) return {};
      return fail(std::move(published).error().advising(
          "nothing was published, and the replica stays yours"));
    };
    if (!lease->alive) {
      CACHECTL_ASSIGN(const bool done, cache->take_back(lent->path, id->text(), publish_it));
      return done ? kDone : not_lent(session, arguments.name);
    }
    // Held by us as well until it is published: nobody else gets it meanwhile.
    CACHECTL_ASSIGN(const auto held, cache->hold_replica(*id));
    CACHECTL_TRY(publish_it());
  }
  auto released = cache->release(*id);
  if (released) return kDone;
  if (released.error().code != Errc::lease_lost) return fail(std::move(released).error());
  CACHECTL_TRY(cache->take_back(lent->path, id->text()));
  [[maybe_unused]] const int failed = session.report(std::move(released).error().within("pool"));
  return kNo;
}

}  // namespace cachectl::cli
