// Stores a value in the cache at argv[1] and prints what is read back; a tree too, which needs
// more of the library.
#include <cachectl/cache.hpp>
#include <cstdio>
#include <string>

namespace {

int failed(const cachectl::Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int, char** argv) {
  using cachectl::Cache;
  using cachectl::Key;
  cachectl::CacheOptions options;
  options.root = argv[1];
  const auto cache = Cache::open(options);
  if (!cache) return failed(cache.error());
  const auto key = Key::from("greeting");
  const auto stored = cache->set_tree(*key, argv[2], {});
  if (!stored) return failed(stored.error());
  const auto ran = cache->run(*Key::from("run"), {{"echo", "hello"}}, {}, {-1, -1});
  if (!ran) return failed(ran.error());
  return cache->get_to(*Key::from("run"), 1, "standard output").value_or(false) ? 0 : 1;
}
