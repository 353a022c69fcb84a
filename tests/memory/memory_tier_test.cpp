#include "src/memory/memory_tier.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/memory/hit_ratio.hpp"

namespace cachectl::memory {

using test::key_number;
using test::value_of_size;

namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

}  // namespace

TEST_CASE("memory: what is inserted is found under its stamp, and under no other") {
  MemoryTier tier(kMiB);
  const auto key = key_number(1);
  CHECK(tier.find(key, 7) == nullptr);
  REQUIRE(tier.insert(key, value_of_size(3), 7));
  REQUIRE(tier.find(key, 7) != nullptr);
  CHECK(tier.find(key, 7)->output == "vvv");
  CHECK(tier.find(key, 8) == nullptr);
  CHECK(tier.find(key_number(2), 7) == nullptr);
  REQUIRE(tier.insert(key, value_of_size(1), 8));
  CHECK(tier.find(key, 7) == nullptr);
  CHECK(tier.find(key, 8)->output == "v");
  CHECK(tier.counts().entries == 1);
  tier.erase(key);
  CHECK(tier.find(key, 8) == nullptr);
}

TEST_CASE("memory: the budget is never exceeded, whatever the sizes are") {
  const std::uint64_t budget =
      GENERATE(std::uint64_t{0}, std::uint64_t{1000}, 64 * 1024 + 0UL, 3 * kMiB + 17);
  MemoryTier tier(budget);
  std::mt19937_64 random(5);
  bool within = tier.counts().bytes <= budget;
  for (std::size_t at = 0; at < 20'000; ++at) {
    const auto key = key_number(random() % 5'000);
    const auto size = random() % (random() % 100 == 0 ? 300'000 : 900);
    if (random() % 3 == 0) static_cast<void>(tier.find(key, 0));
    if (random() % 50 == 0) tier.erase(key);
    tier.insert(key, value_of_size(size), 0);
    within = within && tier.counts().bytes <= budget;
  }
  CHECK(within);
  if (budget >= kMiB) {
    // It is used, too.
    CHECK(tier.counts().bytes > budget / 2);
    CHECK(tier.counts().evictions > 0);
  }
  const auto empty = MemoryTier(budget).counts().bytes;
  tier.clear();
  CHECK(tier.counts().bytes == empty);
  CHECK(tier.counts().entries == 0);
}

TEST_CASE("memory: a value that is too large is not kept, nor the one before it") {
  MemoryTier tier(kMiB);
  const auto key = key_number(1);
  REQUIRE(tier.insert(key, value_of_size(10), 0));
  CHECK_FALSE(tier.insert(key, value_of_size(2 * kMiB), 0));
  CHECK(tier.find(key, 0) == nullptr);
}

TEST_CASE("memory: a value outlives its eviction for who holds it") {
  MemoryTier tier(kMiB);
  const auto key = key_number(1);
  tier.insert(key, value_of_size(100), 0);
  const auto held = tier.find(key, 0);
  tier.clear();
  REQUIRE(held);
  CHECK(held->output == std::string(100, 'v'));
}

TEST_CASE("memory: a scan takes less away than from LRU, and without one it is no worse") {
  constexpr std::size_t kItems = 20'000;
  constexpr std::uint64_t kBudget = 3 * kMiB;
  const auto plain = test::trace_of(kItems, 200'000, 0, 0);
  const auto scanned = test::trace_of(kItems, 200'000, 2'000, 4'000);
  CHECK(test::ratio_of_tier(plain, kItems, kBudget).value() >
        test::ratio_of_lru(plain, kItems, kBudget).value());
  CHECK(test::ratio_of_tier(scanned, kItems, kBudget).value() >
        test::ratio_of_lru(scanned, kItems, kBudget).value() + 0.05);
}

TEST_CASE("memory: any number of threads may use it at once") {
  MemoryTier tier(2 * kMiB);
  std::atomic<bool> is_right{true};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 8; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      for (int at = 0; at < 5'000; ++at) {
        const auto number = random() % 3'000;
        const auto key = key_number(number);
        const auto size = 500 + number;
        const auto found = tier.find(key, number);
        if (found && found->output.size() != size) is_right = false;
        if (!found) tier.insert(key, value_of_size(size), number);
        if (at % 100 == 0) tier.erase(key);
        if (at % 1000 == 0) is_right = is_right && tier.counts().bytes <= tier.budget();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(is_right);
}

}  // namespace cachectl::memory
