// Prints the hit ratios of the memory tier and of plain LRU, on reads by Zipf's law and with
// scans between them.
#include <cstdio>

#include "tests/memory/hit_ratio.hpp"

int main() {
  constexpr std::size_t kItems = 100'000;
  constexpr std::size_t kReads = 1'000'000;
  std::printf("%-34s %8s %8s\n", "1 KiB values, Zipf(0.99), 100,000 keys", "tier", "LRU");
  for (const std::uint64_t mib : {4U, 16U, 48U}) {
    for (const std::size_t scan : {0U, 20'000U}) {
      const auto trace = cachectl::test::trace_of(kItems, kReads, scan == 0 ? 0 : 20'000, scan);
      const auto budget = mib * 1024 * 1024;
      std::printf("%2llu MiB, %-30s %7.1f%% %7.1f%%\n", static_cast<unsigned long long>(mib),
                  scan == 0 ? "no scans" : "a scan as long as what is read",
                  100 * cachectl::test::ratio_of_tier(trace, kItems, budget).value(),
                  100 * cachectl::test::ratio_of_lru(trace, kItems, budget).value());
    }
  }
}
