// Fleet: the machines that a cache shares values with, by way of a server.
//
// Nothing is read, made or connected before a value is wanted from it. Where that fails, it has
// been warned of, and the cache goes on by itself.
//
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "src/refresh/coherence.hpp"
#include "src/refresh/shared.hpp"

namespace cachectl::refresh {

class Fleet {
 public:
  struct Options {
    /// Of the server; empty: there is none. Asked once.
    std::function<Result<remote::Options>()> remote;
    std::function<bool(const Key&)> shares;    ///< empty: all keys are shared
    std::function<const store::Root*()> root;  ///< null until there is a cache
    Shared::Warn warn;                         ///< may be empty
    const Clock* clock = nullptr;
  };
  explicit Fleet(Options options) : options_(std::move(options)) {}

  /// Whether the value of a key is one for the server.
  [[nodiscard]] bool shares(const Key& key) const {
    return options_.remote && (!options_.shares || options_.shares(key));
  }
  /// Null: it is not shared, or there is no server that could be asked.
  [[nodiscard]] const Shared* find(const Key& key);
  /// For who may have to ask later: a hit is not to pay for the question. `key` must outlive it.
  /// Empty: there is no server.
  [[nodiscard]] FindShared finder(const Key& key);
  /// Whatever the key is. Errc::config: there is no server.
  [[nodiscard]] Result<const Shared*> need();

  /// See coherence.hpp, and for `kept` too, of which those that are not shared are left out; null:
  /// there is no server, or no cache.
  [[nodiscard]] std::unique_ptr<Coherence> follow(std::vector<Coherence::Kept> kept);

 private:
  [[nodiscard]] const Shared* open();

  Options options_;
  std::mutex mutex_;
  bool was_tried_ = false;
  std::unique_ptr<remote::Tier> tier_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace cachectl::refresh
