// publisher ROOT KEY VALUE: sets a value, durably; for the enumeration of crash states.
#include <cstdio>

#include "src/cache.hpp"

int main(int count, char** arguments) {
  if (count != 4) return 2;
  cachectl::CacheOptions options;
  options.root = arguments[1];
  const auto cache = cachectl::Cache::open(std::move(options));
  const auto key = cachectl::Key::from(arguments[2]);
  if (!cache || !key) return 3;
  const auto set = cache->set(*key, cachectl::lock::bytes_of(arguments[3]), cachectl::SetPolicy{});
  if (!set) std::fprintf(stderr, "%s\n", set.error().describe().c_str());
  return set ? 0 : 1;
}
