// LayeredCache: the memory of this process in front of a cache on disk, for programs that keep
// their own values.
//
//   LayeredCache prices(std::move(*Cache::open(options)), {});
//   auto price = prices.get_or_compute_with(*key, "short-term", [&] { return ask_shop(id); });
//   if (price) use((*price)->output);
//
// Guarantees
//   - Of all threads and processes that ask for a key at once, one computes; the others get
//     what came of it, a failure too. A failure is not stored.
//   - Once a set, a removal or a computation of any process of the machine has returned, no
//     get that begins after it is answered by an older value from memory (change_table.hpp).
//   - A hit in memory takes one lock of one shard, no system call and no allocation.
//   - What the promises of Cache are, they are here too: memory is a copy, never the only one.
//
// What is not promised: anything about a cache that two machines share by a network file system;
// that a value is in memory (large ones are not, and where ROOT/changes cannot be made none is).
// docs/library.md says more.
//
// Reading through it does not create the directory. Values are shared and immutable: they stay
// what they are for whoever holds them.
//
// Thread-safe: yes. Not to be used in a child that was forked from a program with threads.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "src/cache.hpp"
#include "src/library/refresher.hpp"
#include "src/memory/memory_tier.hpp"
#include "src/store/change_table.hpp"

namespace cachectl {

/// TTLs and windows by name.
using Strategies = std::map<std::string, refresh::Windows, std::less<>>;

/// real-time 30 s, short-term 5 min, medium-term 1 h, long-term 3 h, default 60 s; no windows.
[[nodiscard]] Strategies default_strategies();

struct LayeredOptions {
  std::uint64_t memory = 64ULL * 1024 * 1024;  ///< bytes; 0: keep nothing in memory
  Strategies strategies = default_strategies();
};

class LayeredCache {
 public:
  using Value = memory::SharedValue;

  explicit LayeredCache(Cache cache, LayeredOptions options = {});
  /// Waits for refreshes that run.
  ~LayeredCache();
  LayeredCache(const LayeredCache&) = delete;
  LayeredCache& operator=(const LayeredCache&) = delete;

  /// The fresh value of a key; null: a miss. Errc::usage: it is a tree.
  [[nodiscard]] Result<Value> get(const Key& key);

  /// As get, in the order of `keys`. The first error ends it.
  [[nodiscard]] Result<std::vector<Value>> get_many(const std::vector<Key>& keys);

  /// As Cache::set.
  Result<void> set(const Key& key, std::string_view value, const SetPolicy& policy = {});
  /// With the TTL and the windows of a strategy. Errc::usage: there is none of that name.
  Result<void> set_with_strategy(const Key& key, std::string_view value, std::string_view strategy);

  /// As Cache::remove.
  Result<bool> remove(const Key& key, const WritePolicy& policy = {});

  /// The fresh value, or what `make` makes, which is not stored: for values that come from
  /// elsewhere when the cache has none. A failure of the cache is a miss with a warning.
  [[nodiscard]] Result<Value> get_with_fallback(const Key& key, const refresh::Make& make);

  /// The fresh value, or what `make` makes, stored. A stale one is served at once and made
  /// anew by a thread of this object; then `make` is copied, and what it refers to must live
  /// as long as this. Never null. Errors: see refresh/compute.hpp.
  [[nodiscard]] Result<Value> get_or_compute(const Key& key, const refresh::ComputePolicy& policy,
                                             const refresh::Make& make);
  [[nodiscard]] Result<Value> get_or_compute_with(const Key& key, std::string_view strategy,
                                                  const refresh::Make& make);

  [[nodiscard]] memory::MemoryCounts memory_counts() const { return memory_.counts(); }
  [[nodiscard]] const Cache& cache() const { return cache_; }

 private:
  struct Flight;
  [[nodiscard]] const store::ChangeTable* changes(const store::Root& root);
  [[nodiscard]] Value in_memory(const Key& key);
  [[nodiscard]] Result<Value> on_disk(const Key& key);
  [[nodiscard]] Result<Value> find(const Key& key);
  [[nodiscard]] Result<Value> compute_once(const Key& key, const refresh::ComputePolicy& policy,
                                           const refresh::Make& make);
  void refresh_behind(const Key& key, const refresh::ComputePolicy& policy,
                      const refresh::Make& make, store::Generation generation);
  [[nodiscard]] Result<refresh::Windows> windows_of(std::string_view strategy) const;
  void warn(const Error& what) const;

  Cache cache_;
  Strategies strategies_;
  memory::MemoryTier memory_;
  std::atomic<const store::ChangeTable*> changes_{nullptr};  // the one that is in use
  std::mutex tables_mutex_;
  std::vector<std::unique_ptr<store::ChangeTable>> tables_;  // others may still be read
  bool no_changes_ = false;                                  // there can be none: nothing is kept
  std::mutex flights_mutex_;
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights_;
  std::unordered_set<std::string> refreshed_;  // keys that are being made anew behind
  std::unique_ptr<refresh::Coherence>
      coherence_;        // from the first table on, where values are shared
  Refresher refresher_;  // last: its threads use the rest
};

}  // namespace cachectl
