// bench_fill ROOT COUNT: makes a cache of COUNT entries of 100 bytes that expire in a year.
#include <thread>

#include "scripts/bench.d/measure.hpp"
#include "src/cache.hpp"

namespace {

void fill(const cachectl::Cache& cache, int from, int to) {
  const std::string value(100, 'v');
  cachectl::SetPolicy policy;
  policy.durability = cachectl::lock::Durability::none;
  policy.ttl = std::chrono::hours(24 * 365);
  for (int i = from; i < to; ++i) {
    const auto key = cachectl::Key::from("key:" + std::to_string(i));
    const auto set = cache.set(*key, cachectl::lock::bytes_of(value), policy);
    if (!set) bench::give_up(set.error().describe());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) bench::give_up("usage: bench_fill ROOT COUNT");
  cachectl::CacheOptions options;
  options.root = argv[1];
  const auto cache = cachectl::Cache::open(std::move(options));
  if (!cache) bench::give_up(cache.error().describe());
  const int count = std::stoi(argv[2]);
  std::thread half([&cache, count] { fill(*cache, 0, count / 2); });
  fill(*cache, count / 2, count);
  half.join();
}
