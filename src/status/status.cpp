#include "src/status/status.hpp"

#include <algorithm>

#include "src/status/locks.hpp"
#include "src/store/scan.hpp"

namespace cachectl::status {

namespace {

using store::Root;

void count(const store::RecordHeader& header, WallTime now, Entries& entries) {
  ++entries.count;
  entries.bytes += header.file_size() + header.tree_size;
  if (header.kind == store::Kind::tree) ++entries.trees;
  if (store::is_fresh(header, now)) {
    ++entries.fresh;
  } else if (store::is_stale(header, now)) {
    ++entries.stale;
  } else {
    ++entries.expired;
  }
}

/// How many names there are that `counts` is true for.
template <typename Counts>
Result<std::uint64_t> count_names(const lock::Directory& above, const std::string& name,
                                  Counts counts) {
  std::uint64_t number = 0;
  const auto directory = above.find_below(name);
  if (!directory || !*directory) return number;  // or nothing of ours
  CACHECTL_TRY(store::each_name(
      **directory, [&](const lock::Directory& in, const std::string& each) -> Result<bool> {
        CACHECTL_ASSIGN(const std::uint64_t more, counts(in, each));
        number += more;
        return true;
      }));
  return number;
}

/// Generations in trees/, with those that are values.
Result<std::uint64_t> count_generations(const Root& root) {
  return count_names(
      root.directory(), Root::kTrees,
      [](const lock::Directory& in, const std::string& key) -> Result<std::uint64_t> {
        return count_names(in, key,
                           [](const auto&, const auto&) { return Result<std::uint64_t>(1); });
      });
}

Result<std::vector<Pool>> count_pools(const Cache& cache) {
  std::vector<Pool> pools;
  CACHECTL_ASSIGN(const auto known, cache.pools());
  for (const auto& each : known) {
    Pool row{each.key, each.hash, {}};
    CACHECTL_ASSIGN(const auto slots, each.pool.list());
    for (const auto& slot : slots) ++row.replicas[slot.condition];
    if (row.key.empty() && slots.empty()) continue;  // what a pool leaves that is gone
    pools.push_back(std::move(row));
  }
  std::sort(pools.begin(), pools.end(), [](const Pool& a, const Pool& b) { return a.key < b.key; });
  return pools;
}

}  // namespace

unsigned Pool::number_of(pool::Condition condition) const {
  const auto found = replicas.find(condition);
  return found == replicas.end() ? 0 : found->second;
}

Result<Status> take(const Cache& cache) {
  Status status;
  status.now = cache.clock().now();
  CACHECTL_ASSIGN(const Root* root, cache.root());
  if (root == nullptr) return status;
  status.exists = true;
  // Where /proc does not tell of locks, the rest is told all the same.
  auto found = find_locks(*root);
  if (!found && found.error().code != Errc::unsupported) return fail(std::move(found).error());
  Locks locks;
  if (found) locks = std::move(*found);
  CACHECTL_TRY(store::each_record(
      *root,
      [&](const KeyHash& hash, const store::Entry& entry) {
        count(entry.header(), status.now, status.entries);
        locks.name(hash, entry.key());
      },
      [&](const Error&) { ++status.entries.damaged; }));
  CACHECTL_ASSIGN(status.leases, cache.leases());
  // A lease knows its key, also where nothing is stored under it.
  for (const auto& lease : status.leases) {
    const auto& what = lease.description;
    if (what.key && what.replica == 0) locks.name(KeyHash::of(*what.key), *what.key);
  }
  status.locks = std::move(locks.held);
  CACHECTL_ASSIGN(status.pools, count_pools(cache));
  CACHECTL_ASSIGN(status.daemon, daemon::Instance::find(root->directory()));
  CACHECTL_ASSIGN(const auto generations, count_generations(*root));
  status.superseded = generations - std::min(generations, status.entries.trees);
  CACHECTL_ASSIGN(status.staged,
                  count_names(root->directory(), Root::kStaging,
                              [](const auto&, const auto&) { return Result<std::uint64_t>(1); }));
  return status;
}

}  // namespace cachectl::status
