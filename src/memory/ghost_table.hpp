// GhostTable: which keys were evicted lately, by a part of their hash.
//
// Remembers about as many as it is told to, in 8 bytes each. A key that shares the part of
// another (one in 2^30) is taken for it: it is kept a little longer than it deserves.
//
// Thread-safe: no.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace cachectl::memory {

class GhostTable {
 public:
  /// What it costs to remember `entries`.
  [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t entries) {
    return std::bit_ceil(std::max<std::uint64_t>(entries / kWays, 1)) * sizeof(Bucket);
  }

  explicit GhostTable(std::uint64_t entries)
      : buckets_(std::bit_ceil(std::max<std::uint64_t>(entries / kWays, 1))) {}

  void add(std::uint64_t hash) {
    auto& bucket = bucket_of(hash);
    // The oldest gives way; 0 was never used.
    const auto place = std::min_element(
        bucket.begin(), bucket.end(),
        [this](const Ghost& a, const Ghost& b) { return now_ - a.added > now_ - b.added; });
    *place = {part_of(hash), now_++};
  }

  /// Whether it was added, and no more than `window` after it. Forgets it.
  [[nodiscard]] bool take(std::uint64_t hash, std::uint64_t window) {
    for (auto& ghost : bucket_of(hash)) {
      if (ghost.part != part_of(hash)) continue;
      const bool is_recent = now_ - ghost.added <= window;
      ghost = {};
      return is_recent;
    }
    return false;
  }

 private:
  static constexpr std::size_t kWays = 4;
  struct Ghost {
    std::uint32_t part = 0;  ///< of the hash; 0: none
    std::uint32_t added = 0;
  };
  using Bucket = std::array<Ghost, kWays>;

  [[nodiscard]] static std::uint32_t part_of(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32U) | 1U;
  }
  [[nodiscard]] Bucket& bucket_of(std::uint64_t hash) {
    return buckets_[hash & (buckets_.size() - 1)];
  }

  std::vector<Bucket> buckets_;
  std::uint32_t now_ = 0;  // goes round: only differences count
};

}  // namespace cachectl::memory
