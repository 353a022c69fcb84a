// What can be chosen in the configuration, in the words of those who do it.
#pragma once

namespace cachectl {

// The enumerators stand in the order of the choices of their options.

/// When the lock of a key cannot be had in time.
enum class OnTimeout {
  fail,  ///< Errc::timeout
  run,   ///< run the source uncached
};

/// When the source fails.
enum class OnError {
  fail,       ///< the failure is the answer
  stale,      ///< a value is served within its stale-if-error
  last_good,  ///< the last good value is served, whatever its age
};

/// Who makes a value of all who ask for it at once.
enum class Coordination {
  local,  ///< one process of each machine
  fleet,  ///< one process of all machines that share a server
};

/// Where a value is kept, besides the memory of programs.
enum class Tiers {
  all,   ///< on this disk, and on the server if there is one
  disk,  ///< here only
};

/// How a replica is made, see docs/pool.md.
enum class Way { overlay, snapshot, reflink, hard_link, copy };

/// Which replicas are made like new when they are taken again.
enum class Reset {
  no,      ///< none: a replica keeps what its last owner changed
  dirty,   ///< where its last owner changed something
  always,  ///< each is copied anew
};

}  // namespace cachectl
