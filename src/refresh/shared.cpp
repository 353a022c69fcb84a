#include "src/refresh/shared.hpp"

#include "src/refresh/travel.hpp"
#include "src/remote/failure.hpp"

namespace cachectl::refresh {

void Shared::tell(const Error& why) const {
  if (why.code != Errc::left_alone && warn_) warn_(Error(why).advising("going on without it"));
}

Result<bool> Shared::take(const Key& key, const store::Retention& retention) const {
  Incoming incoming(*root_, key, clock_->now());
  auto taken = tier_->fetch(key, [&](lock::Bytes part) { return incoming.append(part); });
  if (taken && *taken) {
    if (const auto published = incoming.publish(retention); !published) {
      taken = fail(published.error());
    }
  }
  if (!taken && incoming.is_useless()) return false;
  if (!taken && (remote::kind_of(taken.error()) || taken.error().code == Errc::format)) {
    tell(taken.error());
    return false;
  }
  return taken;
}

std::unique_ptr<remote::FleetLease> Shared::lead(const Key& key,
                                                 const lock::Deadline& deadline) const {
  auto led = remote::FleetLease::lead(*tier_, key, deadline);
  if (led) return std::move(*led);
  tell(led.error());
  return nullptr;
}

void Shared::give(const Key& key, const remote::FleetLease* lease) const {
  const auto record = Outgoing::open(*root_, key);
  if (!record) return tell(record.error());
  if (!*record) return;  // removed since
  const auto given = tier_->publish(key, (*record)->header(), (*record)->descriptor(),
                                    lease == nullptr ? remote::Fence() : lease->fence());
  if (!given) tell(given.error());
}

void Shared::remove(const Key& key) const {
  const auto removed = tier_->remove(key);
  if (removed) return;
  auto why = Error(removed.error()).within("'" + key.printable() + "' stays on the server");
  tell(why);
}

}  // namespace cachectl::refresh
