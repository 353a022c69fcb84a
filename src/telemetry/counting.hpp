// Counting: the observer that counts what happens, in the counters of the cache.
//
// The file is opened by the first thing that happens, so by a hit when its answer has been
// passed on. Whatever goes wrong with it ends the counting of this process, in silence:
// counters are no reason to fail, and a cache that may only be read has none.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string_view>

#include "src/telemetry/counter_file.hpp"
#include "src/telemetry/observer.hpp"

namespace cachectl::telemetry {

class Counting final : public Observer {
 public:
  /// The name of the row that a key counts in; empty: that of all others. What it returns
  /// must stay.
  using EntryOf = std::function<std::string_view(std::string_view key)>;

  explicit Counting(EntryOf entry_of) : entry_of_(std::move(entry_of)) {}

  void opened(const lock::Directory& root, mode_t file_mode) override;
  void happened(const Happening& what) override;

 private:
  void count(const Happening& what);
  bool find_file(CounterFile::Extent extent);

  EntryOf entry_of_;
  std::mutex mutex_;
  const lock::Directory* root_ = nullptr;
  mode_t file_mode_ = 0;
  bool given_up_ = false;
  std::optional<CounterFile> file_;
};

}  // namespace cachectl::telemetry
