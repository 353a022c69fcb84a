// Traces of reads, and the hit ratios of the memory tier and of plain LRU on them. Both count
// bytes in the same way.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <list>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/memory/memory_tier.hpp"

namespace cachectl::test {

/// Draws 0 to `items` - 1, the first ones the most often, by Zipf's law.
class Zipf {
 public:
  Zipf(std::size_t items, double exponent) : sums_(items) {
    double sum = 0;
    for (std::size_t rank = 0; rank < items; ++rank) {
      sum += 1 / std::pow(static_cast<double>(rank + 1), exponent);
      sums_[rank] = sum;
    }
  }
  template <typename Random>
  [[nodiscard]] std::size_t operator()(Random& random) const {
    std::uniform_real_distribution<double> at(0, sums_.back());
    const auto found = std::upper_bound(sums_.begin(), sums_.end(), at(random));
    return std::min(static_cast<std::size_t>(found - sums_.begin()), sums_.size() - 1);
  }

 private:
  std::vector<double> sums_;
};

using Trace = std::vector<std::size_t>;

/// Reads by Zipf's law; after each `pause` of them, unless it is 0, `scan` keys that come once.
inline Trace trace_of(std::size_t items, std::size_t reads, std::size_t pause, std::size_t scan) {
  const Zipf zipf(items, 0.99);
  std::mt19937_64 random(1);
  Trace trace;
  std::size_t next = items;
  for (std::size_t at = 0; at < reads; ++at) {
    trace.push_back(zipf(random));
    if (pause == 0 || at % pause != pause - 1) continue;
    for (std::size_t each = 0; each < scan; ++each) trace.push_back(next++);
  }
  return trace;
}

inline Key key_number(std::size_t number) { return *Key::from("key:" + std::to_string(number)); }

struct Ratio {
  std::size_t hits = 0;
  std::size_t reads = 0;  ///< of keys that are not of a scan
  [[nodiscard]] double value() const {
    return static_cast<double>(hits) / static_cast<double>(reads);
  }
};

/// The second half of a trace; the first warms up.
template <typename Find, typename Insert>
Ratio play(const Trace& trace, std::size_t items, const Find& find, const Insert& insert) {
  Ratio ratio;
  for (std::size_t at = 0; at < trace.size(); ++at) {
    const auto key = key_number(trace[at]);
    const bool is_hit = find(key);
    if (!is_hit) insert(key);
    if (at < trace.size() / 2 || trace[at] >= items) continue;
    ++ratio.reads;
    ratio.hits += is_hit ? 1 : 0;
  }
  return ratio;
}

inline memory::SharedValue value_of_size(std::size_t size) {
  memory::Value value;
  value.output.assign(size, 'v');
  value.output.shrink_to_fit();
  return std::make_shared<const memory::Value>(std::move(value));
}

inline Ratio ratio_of_tier(const Trace& trace, std::size_t items, std::uint64_t budget) {
  memory::MemoryTier tier(budget);
  const auto value = value_of_size(1024);
  return play(
      trace, items, [&](const Key& key) { return tier.find(key, 0) != nullptr; },
      [&](const Key& key) { tier.insert(key, value, 0); });
}

inline Ratio ratio_of_lru(const Trace& trace, std::size_t items, std::uint64_t budget) {
  std::list<std::string> order;
  std::unordered_map<std::string, std::list<std::string>::iterator> places;
  std::uint64_t used = 0;
  const auto value = value_of_size(1024);
  return play(
      trace, items,
      [&](const Key& key) {
        const auto found = places.find(key.bytes());
        if (found == places.end()) return false;
        order.splice(order.begin(), order, found->second);
        return true;
      },
      [&](const Key& key) {
        used += memory::MemoryTier::cost(key, *value);
        order.push_front(key.bytes());
        places[key.bytes()] = order.begin();
        while (used > budget) {
          used -= memory::MemoryTier::cost(*Key::from(order.back()), *value);
          places.erase(order.back());
          order.pop_back();
        }
      });
}

}  // namespace cachectl::test
