// Holder: the process that keeps a lease.
//
//                       keep                 release, owner's end, expiry, SIGTERM
//   start --> ready ------------> holding ------------------------------------> ended
//               `-- the acquirer is gone: ended, as if it had never been
//
// It is nobody's child, in a session of its own, works in /, and has nothing open but
// /dev/null, the locked descriptors, the cache, and what it listens to: so no pipe and no
// terminal waits for it. It takes no lock and waits for none.
//
// It ends by closing its descriptors and does not unlock: a command to which the
// descriptor was handed holds the lock as well, until it has published.
#pragma once

#include <chrono>

#include "lock/directory.hpp"
#include "lock/lock_table.hpp"
#include "src/lease/id.hpp"
#include "src/store/root.hpp"

namespace cachectl::lease {

/// Everything here is open in the acquirer, and becomes the holder's by a fork.
struct HolderParts {
  Id id;
  lock::OuterLocks locks;             ///< what it keeps, outermost first
  int owner = -1;                     ///< pidfd
  int listener = -1;                  ///< socket
  int file = -1;                      ///< the lease file, locked
  const lock::Directory* leases;      ///< where both lie
  std::chrono::nanoseconds duration;  ///< max: as long as the owner lives
  const store::Root* root;            ///< with those who watch what happens
  std::string key;                    ///< empty: the whole cache
  bool is_replica = false;            ///< it keeps one, and not a lock
};

/// Forks it, and returns when it is ready. The descriptor is the line to it: it lives on
/// when it has got a message on it, and ends when that is closed before.
///
/// Forks, so it is for programs that have one thread when they call it.
[[nodiscard]] Result<lock::Fd> start_holder(const HolderParts& parts);

}  // namespace cachectl::lease
