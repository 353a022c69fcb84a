#include "src/memory/memory_tier.hpp"

#include <boost/intrusive/list.hpp>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "src/memory/ghost_table.hpp"

namespace cachectl::memory {

namespace {

/// Shares smaller than this keep too few values apart to be worth a lock of their own.
constexpr std::uint64_t kSmallestShare = 1024 * 1024;
constexpr std::uint64_t kMostShards = 64;
/// What the allocator adds to a piece of memory, and how it rounds.
constexpr std::uint64_t kAllocation = 16;
/// One hash is remembered for so many bytes: for values of 512 bytes, as many as there are
/// values. More would take room from them.
constexpr std::uint64_t kBytesForGhost = 512;
constexpr std::uint8_t kMostUses = 3;

std::uint64_t shards_for(std::uint64_t budget) {
  const auto threads = std::max(std::thread::hardware_concurrency(), 1U);
  const auto wanted = std::min<std::uint64_t>(std::bit_ceil(threads * 8U), kMostShards);
  return std::min(wanted, std::bit_floor(std::max<std::uint64_t>(budget / kSmallestShare, 1)));
}

}  // namespace

MemoryCounts& MemoryCounts::operator+=(const MemoryCounts& other) {
  bytes += other.bytes;
  entries += other.entries;
  hits += other.hits;
  misses += other.misses;
  evictions += other.evictions;
  return *this;
}

/// A map and the two queues of its entries. What is in the map is in one of them.
class alignas(64) MemoryTier::Shard {
 public:
  explicit Shard(std::uint64_t budget) : ghosts_(budget / kBytesForGhost) {
    const auto own = sizeof(Shard) + GhostTable::bytes_for(budget / kBytesForGhost);
    room_ = budget > own ? budget - own : 0;
    counts_.bytes = budget - room_;
  }

  SharedValue find(const Key& key, std::uint64_t stamp) {
    const std::lock_guard guard(mutex_);
    const auto found = map_.find(key.hash());
    if (found == map_.end() || found->second.stamp != stamp || found->second.key != key.bytes()) {
      ++counts_.misses;
      return {};
    }
    auto& entry = found->second;
    if (entry.uses < kMostUses) ++entry.uses;
    ++counts_.hits;
    return entry.value;
  }

  bool insert(const Key& key, SharedValue value, std::uint64_t stamp) {
    const auto needed = cost(key, *value);
    SharedValue last;  // let go of after the lock
    const std::lock_guard guard(mutex_);
    auto found = map_.find(key.hash());
    // The same key anew keeps its place and what is known of its use.
    const bool is_known = found != map_.end() && found->second.key == key.bytes();
    const bool is_main = is_known ? found->second.is_main : ghosts_.take(key.hash().low, known());
    const std::uint8_t uses = is_known ? found->second.uses : 0;
    if (found != map_.end()) last = remove(found);
    if (needed > room_) return false;
    while (used_ + needed > room_) evict();
    auto& entry = map_[key.hash()];
    entry.hash = key.hash();
    entry.key = key.bytes();
    entry.value = std::move(value);
    entry.stamp = stamp;
    entry.cost = needed;
    entry.uses = uses;
    add(entry, is_main);
    used_ += needed;
    return true;
  }

  void erase(const Key& key) {
    SharedValue last;
    const std::lock_guard guard(mutex_);
    const auto found = map_.find(key.hash());
    if (found != map_.end() && found->second.key == key.bytes()) last = remove(found);
  }

  void clear() {
    const std::lock_guard guard(mutex_);
    while (!map_.empty()) remove(map_.begin());
  }

  MemoryCounts counts() const {
    const std::lock_guard guard(mutex_);
    auto counts = counts_;
    counts.bytes += used_;
    counts.entries = map_.size();
    return counts;
  }

 private:
  struct Entry : boost::intrusive::list_base_hook<> {
    KeyHash hash;
    std::string key;
    SharedValue value;
    std::uint64_t stamp = 0;
    std::uint64_t cost = 0;
    std::uint8_t uses = 0;  ///< since it came, or since its turn to be evicted, up to 3
    bool is_main = false;
  };
  struct HashOfKeyHash {
    // Another part of it than what chooses the shard.
    std::size_t operator()(const KeyHash& hash) const { return hash.low; }
  };
  using Map = std::unordered_map<KeyHash, Entry, HashOfKeyHash>;
  using Queue = boost::intrusive::list<Entry>;
  friend class MemoryTier;

  [[nodiscard]] std::uint64_t known() const { return map_.size(); }

  void add(Entry& entry, bool is_main) {
    entry.is_main = is_main;
    (is_main ? main_ : small_).push_back(entry);
    if (!is_main) small_bytes_ += entry.cost;
  }

  void take_out(Entry& entry) {
    auto& queue = entry.is_main ? main_ : small_;
    queue.erase(queue.iterator_to(entry));
    if (!entry.is_main) small_bytes_ -= entry.cost;
  }

  SharedValue remove(Map::iterator found) {
    auto& entry = found->second;
    auto value = std::move(entry.value);
    take_out(entry);
    used_ -= entry.cost;
    map_.erase(found);
    return value;
  }

  /// One entry leaves or changes its place.
  void evict() {
    const bool from_small = main_.empty() || small_bytes_ > room_ / 10;
    auto& entry = (from_small && !small_.empty() ? small_ : main_).front();
    const bool was_main = entry.is_main;
    if (entry.uses > 0) {
      take_out(entry);
      // Main forgets one use each time round; from small all count as one stay.
      entry.uses = static_cast<std::uint8_t>(was_main ? entry.uses - 1 : 0);
      add(entry, true);
      return;
    }
    if (!was_main) ghosts_.add(entry.hash.low);
    remove(map_.find(entry.hash));
    ++counts_.evictions;
  }

  mutable std::mutex mutex_;
  Map map_;
  Queue small_;
  Queue main_;
  GhostTable ghosts_;
  std::uint64_t room_ = 0;         // for entries
  std::uint64_t used_ = 0;         // of that
  std::uint64_t small_bytes_ = 0;  // of that, in the small queue
  MemoryCounts counts_;
};

MemoryTier::MemoryTier(std::uint64_t budget) : budget_(budget) {
  const auto number = shards_for(budget);
  for (std::uint64_t each = 0; each < number; ++each) {
    shards_.push_back(std::make_unique<Shard>(budget / number));
  }
}

MemoryTier::~MemoryTier() { clear(); }

std::uint64_t MemoryTier::cost(const Key& key, const Value& value) {
  // A short string lies in its object, but for whom it is counted twice the error is small.
  constexpr auto kNode = sizeof(Shard::Map::value_type) + 3 * sizeof(void*) + kAllocation;
  constexpr auto kValue = sizeof(Value) + 2 * sizeof(void*) + kAllocation;
  return kNode + kValue + key.bytes().size() + value.output.capacity() + 2 * kAllocation;
}

MemoryTier::Shard& MemoryTier::shard_of(const Key& key) const {
  return *shards_[key.hash().high & (shards_.size() - 1)];
}

SharedValue MemoryTier::find(const Key& key, std::uint64_t stamp) {
  return shard_of(key).find(key, stamp);
}

bool MemoryTier::insert(const Key& key, SharedValue value, std::uint64_t stamp) {
  return shard_of(key).insert(key, std::move(value), stamp);
}

void MemoryTier::erase(const Key& key) { shard_of(key).erase(key); }

void MemoryTier::clear() {
  for (const auto& shard : shards_) shard->clear();
}

MemoryCounts MemoryTier::counts() const {
  MemoryCounts all;
  for (const auto& shard : shards_) all += shard->counts();
  return all;
}

}  // namespace cachectl::memory
