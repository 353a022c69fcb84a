// Subscription: what all machines of the fleet publish and remove, told as it happens.
//
//   unconnected --next--> subscribed --next--> subscribed
//        ^                    |
//        `---- any failure ---'
//
// The scripts that publish and remove announce it (PUBLISH) in the channel PREFIXchanges: the name
// of the head, and when the version was created, or when it was removed. Nothing is kept for who is
// not there: after each connect, what was missed has to be found out otherwise.
//
// A silent server is asked for a sign of life each 5 s, and given up after the read timeout.
//
// Thread rules: one thread at a time.
#pragma once

#include <chrono>
#include <optional>

#include "src/remote/tier.hpp"

namespace cachectl::remote {

class Subscription {
 public:
  static constexpr std::chrono::seconds kSilence{5};

  /// `tier` must outlive it.
  explicit Subscription(Tier& tier) : tier_(&tier) {}

  struct News {
    enum class What {
      begun,    ///< anything may have been missed before
      changed,  ///< versions of the key that are older than `created` are no longer right
      stopped,  ///< `wake` can be read
    };
    What what = What::stopped;
    KeyHash hash;
    WallTime created;
  };
  /// Waits for what comes next, or until `wake` can be read. Errors: the server failed; the next
  /// call begins anew.
  [[nodiscard]] Result<News> next(int wake);

 private:
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] Result<std::optional<News>> understand(const Reply& reply) const;

  Tier* tier_;
  std::unique_ptr<Connection> connection_;
  bool is_asked_ = false;  ///< for a sign of life
};

}  // namespace cachectl::remote
