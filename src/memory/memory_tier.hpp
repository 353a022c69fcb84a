// MemoryTier: values in the memory of this process, found by their key.
//
//   key's hash --> shard --> one lock, one look-up, no allocation --> shared value
//
// Bounded by bytes: keys, values and what it costs to keep them are counted, and at no moment
// is there more than the budget. Values that somebody still reads after they were evicted are
// his: they live until he lets go, and are not counted.
//
// Replacement is S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP
// 2023), of bytes and for each shard on its own:
//
//   insert --> small, a tenth --used since--> main --not used since--> evicted
//                 |                            ^  `--used--> again to its end
//                 `--not used--> evicted; its hash is remembered, and who comes back
//                                while it is goes to main at once
//
// So what is read once, as in a scan, passes through the small queue and leaves the main one
// alone. A hit writes a small counter and moves nothing. Rejected: LRU (a scan empties it; each
// hit moves a link), SIEVE (as simple, but a scan passes through all of it), W-TinyLFU (a hit
// also feeds a sketch and an LRU). scripts/bench has the hit ratios.
//
// Each value has a stamp, which means something to the caller: the state of the disk that it
// was read in (store/change_table.hpp).
//
// Thread-safe: yes. Threads meet only in a shard, for the length of a look-up.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/key.hpp"
#include "src/store/record.hpp"

namespace cachectl::memory {

/// A generation of a value that nobody changes any more.
struct Value {
  store::RecordHeader header;
  std::string output;
};

using SharedValue = std::shared_ptr<const Value>;

struct MemoryCounts {
  std::uint64_t bytes = 0;    ///< in use, of the budget
  std::uint64_t entries = 0;  ///< that have a value
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t evictions = 0;
  MemoryCounts& operator+=(const MemoryCounts& other);
};

class MemoryTier {
 public:
  /// `budget`: bytes. A value that needs more than the share of one shard is not kept; that
  /// share is at least 1 MiB where the budget has as much.
  explicit MemoryTier(std::uint64_t budget);
  ~MemoryTier();
  MemoryTier(const MemoryTier&) = delete;
  MemoryTier& operator=(const MemoryTier&) = delete;

  /// The value of a key, whatever its age; null: there is none with this stamp.
  [[nodiscard]] SharedValue find(const Key& key, std::uint64_t stamp);
  /// Takes the place of what was there. False: it is too large, and nothing is there now.
  bool insert(const Key& key, SharedValue value, std::uint64_t stamp);
  void erase(const Key& key);
  void clear();

  [[nodiscard]] MemoryCounts counts() const;
  [[nodiscard]] std::uint64_t budget() const { return budget_; }
  /// What a value costs, all told.
  [[nodiscard]] static std::uint64_t cost(const Key& key, const Value& value);

 private:
  class Shard;
  [[nodiscard]] Shard& shard_of(const Key& key) const;

  std::uint64_t budget_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace cachectl::memory
