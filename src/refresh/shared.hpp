// Shared: the values of other machines, by way of the remote tier.
//
//   leader: lock the key, look at disk, take from the server --there--> publish here, serve
//                                                `--nothing--> run the source, publish here, give
//
// The server is asked by whoever holds the key's lock and found nothing on disk, so once per
// machine. What it has is published here like any other value, with the creation and the windows
// that it was made with; what is made here is given to it once it is published and the lock is
// free. A server that fails is told to `warn`, unless it is left alone (remote/breaker.hpp), and
// then nobody is kept from a result. Observers are told of each answer and each failure.
//
// Thread-safe, as the tier is.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "src/choices.hpp"
#include "src/remote/fleet_lease.hpp"
#include "src/remote/tier.hpp"
#include "src/store/store.hpp"
#include "src/store/trees.hpp"

namespace cachectl::refresh {

class Incoming;

class Shared {
 public:
  using Warn = std::function<void(const Error&)>;

  /// All must outlive it.
  Shared(const store::Root& root, const Clock& clock, Warn warn, remote::Tier& tier)
      : root_(&root), clock_(&clock), warn_(std::move(warn)), tier_(&tier) {}

  /// Publishes the server's value of a key here, if it has one that is fresh. Under the lock of
  /// the key. Of a tree that it replaces, `retention` says what stays. Errors are those of this
  /// machine.
  [[nodiscard]] Result<bool> take(const Key& key, const store::Retention& retention) const;

  /// Makes this machine the one of the fleet that makes the value, or waits for the one that
  /// does: then null, and the server may have it. Null, too, where the server fails, and when
  /// the deadline passes.
  [[nodiscard]] std::unique_ptr<remote::FleetLease> lead(const Key& key,
                                                         const lock::Deadline& deadline) const;

  /// What answers, if anything does, and else how to make it: under the lease of the fleet, if
  /// that is asked for and it was to be had.
  template <typename Value>
  struct Turn {
    std::optional<Value> value;
    std::unique_ptr<remote::FleetLease> lease;
  };

  /// take, and in a fleet lead, and take again: the value may have been made since we looked, or
  /// while we waited. `look` is asked for a value that was taken, and may find it of no use:
  /// Result<std::optional<Value>>().
  template <typename Value, typename Look>
  [[nodiscard]] Result<Turn<Value>> take_or_lead(const Key& key, const store::Retention& retention,
                                                 Coordination coordination,
                                                 const lock::Deadline& deadline,
                                                 const Look& look) const {
    Turn<Value> turn;
    CACHECTL_ASSIGN(bool taken, take(key, retention));
    if (taken) {
      CACHECTL_ASSIGN(turn.value, look());
    }
    if (turn.value || coordination == Coordination::local) return turn;
    turn.lease = lead(key, deadline);
    CACHECTL_ASSIGN(taken, take(key, retention));
    if (taken) {
      CACHECTL_ASSIGN(turn.value, look());
    }
    if (turn.value) turn.lease.reset();
    return turn;
  }

  /// Gives the server what is stored here, under a lease if there is one. As far as it goes.
  void give(const Key& key, const remote::FleetLease* lease = nullptr) const;

  /// Whether the server has a value, fresh or not, by one question; nullopt: it is left alone,
  /// or has failed.
  [[nodiscard]] std::optional<bool> has(const Key& key) const;

  /// The server's fresh value, written to a descriptor that is called `name` in errors; false: it
  /// has none. Nothing comes to this disk, and a failure of the server is an error.
  [[nodiscard]] Result<bool> copy_to(const Key& key, int descriptor, std::string_view name) const;
  /// Gives the server a record that need not be stored here. False: a newer one is there.
  [[nodiscard]] Result<bool> publish(const Key& key, const store::RecordHeader& header,
                                     int record_descriptor, const remote::Fence& fence = {}) const;
  /// True: it was there.
  [[nodiscard]] Result<bool> try_remove(const Key& key) const;

  /// Nobody gets the server's value any more; other machines keep what they have on disk. As
  /// far as it goes. True: it was there.
  bool remove(const Key& key) const;

  /// For the hooks of the tier.
  void damaged(const Key& key, const Error& why) const;
  void changed(bool is_open) const;

 private:
  using Since = telemetry::Stopwatch;
  [[nodiscard]] Result<bool> fetch(const Key& key, Incoming& incoming, const Since& since) const;
  void tell_failure(const Key& key, const Error& why, const Since& since) const;

  const store::Root* root_;
  const Clock* clock_;
  Warn warn_;
  remote::Tier* tier_;
};

/// Makes it when it is first needed: a hit on disk is not to pay for it. Null: there is none.
using FindShared = std::function<const Shared*()>;

}  // namespace cachectl::refresh
