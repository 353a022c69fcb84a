#include "tests/store/fixture.hpp"

#include <cstring>
#include <filesystem>
#include <iterator>

#include "src/checksum.hpp"

namespace cachectl::test {

Key key_of(std::string bytes) { return must(Key::from(std::move(bytes))); }

TestCache::TestCache(store::Sharing sharing) : root_(temp_.file("root")), sharing_(sharing) {}

std::string TestCache::file(std::string_view name) const { return root_ + "/" + std::string(name); }

std::string TestCache::record(const Key& key) const {
  return file(store::entry_name(key.hash()).path());
}

Cache TestCache::open(telemetry::Observers observers) {
  CacheOptions options;
  options.observers = std::move(observers);
  options.root = root_;
  options.sharing = sharing_;
  options.clock = &clock_;
  options.warn = [this](const Error& what) {
    const std::lock_guard guard(mutex_);
    warnings_.push_back(what.describe());
  };
  return must(Cache::open(std::move(options)));
}

store::Root TestCache::open_root() const {
  return must(store::Root::open_or_create(root_, sharing_));
}

std::vector<std::string> TestCache::take_warnings() {
  const std::lock_guard guard(mutex_);
  return std::exchange(warnings_, {});
}

std::size_t TestCache::count(std::string_view directory) const {
  namespace fs = std::filesystem;
  std::size_t files = 0;
  for (const auto& item : fs::recursive_directory_iterator(file(directory))) {
    files += item.is_directory() ? 0 : 1;
  }
  return files;
}

store::Generation put(const Cache& cache, const Key& key, std::string_view value,
                      std::chrono::nanoseconds ttl) {
  SetPolicy policy;
  policy.ttl = ttl;
  policy.durability = lock::Durability::none;
  return *must(cache.set(key, lock::bytes_of(value), policy));
}

std::optional<std::string> value_of(const Cache& cache, const Key& key) {
  const auto entry = must(cache.get(key));
  if (!entry) return std::nullopt;
  return must(entry->read(store::Stream::output));
}

std::string seen(const Cache& cache, const Key& key) {
  const auto entry = cache.get(key);
  if (!entry) return "error: " + entry.error().describe();
  if (!*entry) return "miss";
  return "value: " + must((*entry)->read(store::Stream::output));
}

std::string with_version(std::string record, std::uint32_t version) {
  constexpr std::size_t kVersion = 8;
  constexpr std::size_t kChecksum = 16;
  constexpr std::size_t kKeySize = 104;
  std::memcpy(record.data() + kVersion, &version, sizeof version);
  std::memset(record.data() + kChecksum, 0, 8);
  std::uint32_t key_size = 0;
  std::memcpy(&key_size, record.data() + kKeySize, sizeof key_size);
  const auto head =
      std::string_view(record).substr(0, store::RecordHeader::kSize + std::size_t{key_size});
  const std::uint64_t sum = checksum_of(lock::bytes_of(head));
  std::memcpy(record.data() + kChecksum, &sum, sizeof sum);
  return record;
}

std::string pattern(std::size_t size, unsigned seed) {
  std::string text(size, '\0');
  std::uint64_t state = seed * std::uint64_t{0x9E3779B97F4A7C15} + 1;
  for (auto& byte : text) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<char>(state >> 56U);
  }
  return text;
}

}  // namespace cachectl::test
