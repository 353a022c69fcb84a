// Coherence: takes from this disk, and so from the memory of its programs, what another machine has
// replaced or removed since.
//
// A thread follows what the machines of the fleet announce (remote/subscription.hpp). A record here
// that is older than what was announced is removed, under the lock of its key: who asks next gets
// the newer one from the server. One whose key is locked is left to whoever has the lock for more
// than a second, as he makes a newer one.
//
// What is to be kept here is replaced by the server's value instead, and taken where nothing is
// here. It is removed, too, where that cannot be had: it was deleted, or the server fails.
//
// How long an outdated value can still be served: for as long as the announcement and the removal
// take, which is some milliseconds; where the connection is lost, until it is back, as then the
// versions of all records are compared with those of the server. That a server has gone without a
// word is found out within 5 s and the read timeout; it is tried again each 0.1 s, up to 2 s apart.
// What was removed while the connection was lost stays until its TTL is over.
//
// Thread-safe: one object, one thread of its own. Not for programs that fork.
#pragma once

#include <thread>
#include <vector>

#include "lock/fd.hpp"
#include "src/clock.hpp"
#include "src/refresh/shared.hpp"
#include "src/remote/subscription.hpp"
#include "src/store/root.hpp"

namespace cachectl::refresh {

class Coherence {
 public:
  /// A key whose value is to be on this disk before somebody asks for it.
  struct Kept {
    Key key;
    store::Retention retention;  ///< of superseded trees
  };

  /// All must outlive it. `warn` is told of the first failure of several in a row, by the thread.
  Coherence(const store::Root& root, Shared::Warn warn, remote::Tier& tier, const Shared& shared,
            std::vector<Kept> kept);
  /// Ends the thread.
  ~Coherence();
  Coherence(const Coherence&) = delete;
  Coherence& operator=(const Coherence&) = delete;

 private:
  void run();
  void catch_up() const;
  void renew(const KeyHash& hash, WallTime created) const;

  const store::Root* root_;
  Shared::Warn warn_;
  remote::Tier* tier_;
  const Shared* shared_;
  std::vector<Kept> kept_;
  lock::Fd stop_;  ///< can be read when the thread is to end
  std::thread thread_;
};

}  // namespace cachectl::refresh
