// FleetLease: of all machines that share a server, one makes a value.
//
//   lead: SET prefix{HASH}:lead TOKEN NX PX 10000 --ok--> we lead, and renew it every 3 s
//           | taken: its token, and how long it still lives
//   BLMOVE prefix{HASH}:wake:TOKEN to itself, for as long --an element--> it is done: look again
//           | nothing came: the leader is dead, or slower than his renewals
//   lead again
//
// Whoever is done deletes the lease, if it is still his, and puts one element on the list of his
// token: all who wait for that list get it, one after the other, as each puts it back. A list
// has the token in its name, so nobody is woken by what was before.
//
// A fencing token: what is published under a lease is refused by the script in the server unless
// the lease still has the token. So a leader that was paused for longer than it lives overwrites
// nothing of who came after him.
//
// It spares work and guards nothing on this disk: where the server fails, each machine makes the
// value for itself.
//
// Thread-safe: no; one call at a time. Fork: the child has no lease.
#pragma once

#include <memory>
#include <string>

#include "lock/deadline.hpp"
#include "src/remote/tier.hpp"

namespace cachectl::remote {

class FleetLease {
 public:
  static constexpr std::chrono::milliseconds kLife{10'000};

  /// Null: somebody else has made the value, or tried, or the deadline passed: look again.
  /// `tier` must outlive it. Errors are those of the server: go on without it.
  [[nodiscard]] static Result<std::unique_ptr<FleetLease>> lead(Tier& tier, const Key& key,
                                                                const lock::Deadline& deadline);

  /// Wakes those who wait.
  ~FleetLease();
  FleetLease(const FleetLease&) = delete;
  FleetLease& operator=(const FleetLease&) = delete;

  /// What a publish under it is to show.
  [[nodiscard]] Fence fence() const;

 private:
  class Renewer;
  FleetLease(Tier& tier, std::string lead, std::string wake, std::string token);

  Tier* tier_;
  std::string lead_;
  std::string wake_;
  std::string token_;
  std::unique_ptr<Renewer> renewer_;
};

}  // namespace cachectl::remote
