// What the objects of one Cache share; for src/cache*.cpp only.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "src/cache.hpp"

namespace cachectl {

struct Cache::State {
  CacheOptions options;
  SystemClock system_clock;
  std::mutex mutex;  // guards the creation of root
  std::unique_ptr<store::Root> root;
  lease::Borrowed borrowed;  // what the outer locks of a lease name
  std::optional<refresh::Fleet> fleet;

  /// Null where there is none yet; another process may make it at any time. Once set it
  /// stays.
  Result<const store::Root*> existing();
  void adopt(store::Root found);
  /// Makes the lease that was named an outer lock.
  Result<void> borrow();
};

/// For who finds out: that a lease was lost. Its holder has told if it could.
void tell_lost(const store::Root& root, const lease::Id& id, const Error& error);

}  // namespace cachectl
