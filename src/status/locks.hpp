// The locks of a cache, named.
#pragma once

#include <unordered_map>

#include "src/status/status.hpp"

namespace cachectl::status {

/// What is locked now, with keys unnamed, and where to put their names once records are seen.
struct Locks {
  std::vector<Lock> held;
  std::unordered_multimap<std::uint64_t, std::size_t> by_byte;  ///< a key's byte at depth 0

  /// Names those that are the lock of this key.
  void name(const KeyHash& hash, std::string_view key);
};

[[nodiscard]] Result<Locks> find_locks(const store::Root& root);

}  // namespace cachectl::status
