// cachectl pool resize|reset|drain: replicas that nobody has.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "cli/configured.hpp"
#include "cli/pool_actions.hpp"
#include "cli/watching.hpp"
#include "lock/child.hpp"
#include "lock/number.hpp"
#include "lock/process.hpp"

namespace cachectl::cli {

namespace {

/// Makes an idle replica in advance: a copy, which serves everybody, where one is allowed.
Result<void> make_ready(const Key& key, const pool::Pool& pool, pool::Slot& slot,
                        const store::Tree& primary, const std::vector<Way>& ways) {
  const auto copies = copying(ways);
  auto made = copies.empty() ? pool.prepare_overlay(slot, primary, {})
                             : pool.prepare(slot, primary, copies, {});
  if (!made && made.error().code == Errc::unsupported)
    return fail(no_way(key, made.error().message));
  return made;
}

/// What is in use is not removed; gc does that when it is idle.
Result<void> tell_of_those_in_use(const Session& session, const Key& key, const pool::Pool& pool,
                                  unsigned wanted) {
  CACHECTL_ASSIGN(const auto slots, pool.list());
  for (const auto& slot : slots) {
    if (slot.number <= wanted || slot.condition != pool::Condition::leased) continue;
    session.tell(fmt::format("replica {} of '{}' is in use, and stays: {}", slot.number,
                             key.printable(), escaped(slot.state.owner)));
  }
  return {};
}

}  // namespace

Result<int> pool_resize(Session& session, const PoolArguments& arguments) {
  const auto& text = arguments.number;
  unsigned wanted = 0;
  if (!parse_number(text, wanted) || wanted > pool::kMost) {
    return fail(Errc::usage, "'" + escaped(text) + "' is no number of replicas",
                fmt::format("give one from 0 to {}", pool::kMost));
  }
  CACHECTL_ASSIGN(const auto key, pool_key(arguments));
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(auto chosen, pool_options(session, key));
  if (wanted > chosen.most) {
    return fail(Errc::usage,
                fmt::format("{} replicas are more than pool.max, {}", wanted, chosen.most),
                "raise pool.max in the configuration");
  }
  chosen.reset = Reset::dirty;
  const auto ways = chosen.ways;
  CACHECTL_TRY(can_have_pool(session, *cache, key));
  if (wanted == 0) {
    CACHECTL_ASSIGN(const auto existing, cache->find_pool(key, std::move(chosen)));
    if (!existing) return kDone;
    CACHECTL_TRY(existing->trim(0, false));
    CACHECTL_TRY(tell_of_those_in_use(session, key, *existing, wanted));
    return kDone;
  }
  CACHECTL_ASSIGN(const auto primary, tree_of(session, key));
  if (!primary.tree) {
    if (primary.status != kDone) return primary.status;
    return fail(expired(key));
  }
  CACHECTL_ASSIGN(const auto pool, cache->pool(key, std::move(chosen)));
  CACHECTL_TRY(pool.trim(wanted, false));
  for (unsigned number = 1; number <= wanted; ++number) {
    CACHECTL_ASSIGN(auto slot, pool.try_take(number));
    if (slot) CACHECTL_TRY(make_ready(key, pool, *slot, *primary.tree, ways));
  }
  CACHECTL_TRY(tell_of_those_in_use(session, key, pool, wanted));
  return kDone;
}

Result<int> pool_reset(Session& session, const PoolArguments& arguments) {
  CACHECTL_ASSIGN(const auto key, pool_key(arguments));
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(auto chosen, pool_options(session, key));
  if (chosen.reset == Reset::no) chosen.reset = Reset::dirty;
  const auto ways = chosen.ways;
  CACHECTL_ASSIGN(const auto pool, cache->find_pool(key, std::move(chosen)));
  if (!pool) {
    CACHECTL_TRY(can_have_pool(session, *cache, key));
    return kNo;
  }
  CACHECTL_ASSIGN(const auto primary, tree_of(session, key));
  if (!primary.tree) {
    if (primary.status != kDone) return primary.status;
    return fail(expired(key));
  }
  CACHECTL_ASSIGN(const auto slots, pool->list());
  for (const auto& known : slots) {
    if (known.condition == pool::Condition::leased || known.condition == pool::Condition::empty) {
      continue;
    }
    CACHECTL_ASSIGN(auto slot, pool->try_take(known.number));
    if (!slot) continue;
    const bool stays = slot->state().way == Way::overlay &&
                       std::find(ways.begin(), ways.end(), Way::overlay) != ways.end();
    CACHECTL_TRY(
        make_ready(key, *pool, *slot, *primary.tree, stays ? std::vector{Way::overlay} : ways));
  }
  return kDone;
}

namespace {

/// Draining a pool of which the caller has a replica himself would be waiting for oneself.
Result<void> check_not_ours(const Cache& cache, const Key& key, const pool::Pool& pool) {
  const auto shell = lock::ProcessIdentity::of(lock::calling_shell());
  CACHECTL_ASSIGN(const auto slots, pool.list());
  for (const auto& slot : slots) {
    if (slot.condition != pool::Condition::leased) continue;
    const auto what = fmt::format("replica {} of '{}'", slot.number, key.printable());
    if (runs_with(slot)) {
      return fail(Errc::usage, "drain would wait for itself: it runs with " + what,
                  "drain when that command has ended");
    }
    const auto id = lease::Id::parse(slot.state.lease);
    if (!id) continue;
    CACHECTL_ASSIGN(const auto lease, cache.find_lease(*id));
    if (lease && lease->description.owner == shell) {
      return fail(Errc::usage, "drain would wait for itself: this shell has " + what,
                  "give it back first: cachectl pool checkin " + lock::shell_quoted({slot.path}));
    }
  }
  return {};
}

}  // namespace

Result<int> pool_drain(Session& session, const PoolArguments& arguments) {
  CACHECTL_ASSIGN(const auto key, pool_key(arguments));
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(auto chosen, pool_options(session, key));
  CACHECTL_ASSIGN(const auto pool, cache->find_pool(key, std::move(chosen)));
  if (!pool) {
    CACHECTL_TRY(can_have_pool(session, *cache, key));
    return kDone;
  }
  CACHECTL_TRY(check_not_ours(*cache, key, *pool));
  Watching watching(session, &key, "the replicas of '" + key.printable() + "'",
                    [&pool] { return "held: " + holders(*pool); });
  CACHECTL_ASSIGN(const bool empty,
                  pool->drain(watching.watched(lock::Deadline::after(settings->timeout))));
  if (empty) return kDone;
  return fail(
      Errc::timeout,
      "gave up waiting for the replicas of '" + key.printable() + "', held: " + holders(*pool),
      "wait longer with --timeout");
}

}  // namespace cachectl::cli
