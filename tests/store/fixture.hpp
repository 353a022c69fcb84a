// What the tests of the store and of the cache share: a cache in a directory of its own,
// on a clock that the test turns.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

/// Stands still until it is turned. Starts at the time of the machine, so that the times
/// that the kernel gives to files compare with it. May be turned by any thread.
class TestClock final : public Clock {
 public:
  TestClock() : now_(SystemClock().now().time_since_epoch().count()) {}
  [[nodiscard]] WallTime now() const override {
    return WallTime(std::chrono::nanoseconds(now_.load()));
  }
  void set(WallTime now) { now_ = now.time_since_epoch().count(); }
  void advance(std::chrono::nanoseconds by) { now_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_;
};

/// The value, or an exception that says why there is none. For what a test takes for
/// granted, also in threads and forked children, where assertions do not work.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().describe());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

[[nodiscard]] Key key_of(std::string bytes);

class TestCache {
 public:
  /// A cache that does not exist yet, below a new temporary directory.
  explicit TestCache(store::Sharing sharing = store::Sharing::owner_only);

  [[nodiscard]] const std::string& root() const { return root_; }
  /// Path of a file below the root.
  [[nodiscard]] std::string file(std::string_view name) const;
  /// Path of the record of a key.
  [[nodiscard]] std::string record(const Key& key) const;
  [[nodiscard]] TestClock& clock() { return clock_; }
  [[nodiscard]] TempDirectory& outside() { return temp_; }

  /// Another Cache on the same root; this object must outlive it.
  [[nodiscard]] Cache open(telemetry::Observers observers = {});
  /// The root itself, made where it is missing.
  store::Root open_root() const;

  /// What the caches have warned of since the last call.
  [[nodiscard]] std::vector<std::string> take_warnings();
  /// Number of files in a directory of the root.
  [[nodiscard]] std::size_t count(std::string_view directory) const;

 private:
  TempDirectory temp_;
  std::string root_;
  store::Sharing sharing_;
  TestClock clock_;
  std::mutex mutex_;
  std::vector<std::string> warnings_;
};

/// Publishes with what a test needs rarely left at its default.
store::Generation put(const Cache& cache, const Key& key, std::string_view value,
                      std::chrono::nanoseconds ttl = std::chrono::nanoseconds::max());

/// The output of the fresh value; nullopt: a miss.
[[nodiscard]] std::optional<std::string> value_of(const Cache& cache, const Key& key);

/// "value: …", "miss", or "error: …", for messages of children and for comparison.
[[nodiscard]] std::string seen(const Cache& cache, const Key& key);

/// The bytes of a record with its format version replaced and its header checksum made
/// right again, as a later version of the program would have written it.
[[nodiscard]] std::string with_version(std::string record, std::uint32_t version);

/// `size` bytes that differ from place to place, and with `seed`.
[[nodiscard]] std::string pattern(std::size_t size, unsigned seed = 1);

}  // namespace cachectl::test
