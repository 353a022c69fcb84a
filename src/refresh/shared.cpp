#include "src/refresh/shared.hpp"

#include "src/refresh/travel.hpp"
#include "src/remote/failure.hpp"

namespace cachectl::refresh {

void Shared::warn(const Error& why) const {
  if (warn_) warn_(Error(why).advising("going on without it"));
}

void Shared::tell(const Error& why, bool was_left_alone) const {
  if (!was_left_alone) warn(why);
}

Result<bool> Shared::take(const Key& key, const store::Retention& retention) const {
  Incoming incoming(*root_, key, clock_->now());
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  auto taken = tier_->fetch(key, [&](lock::Bytes part) { return incoming.append(part); });
  if (taken && *taken) {
    if (const auto published = incoming.publish(retention); !published) {
      taken = fail(published.error());
    }
  }
  if (!taken && incoming.is_useless()) return false;
  if (!taken && (remote::kind_of(taken.error()) || taken.error().code == Errc::format)) {
    tell(taken.error(), was_left_alone);
    return false;
  }
  return taken;
}

std::unique_ptr<remote::FleetLease> Shared::lead(const Key& key,
                                                 const lock::Deadline& deadline) const {
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  auto led = remote::FleetLease::lead(*tier_, key, deadline);
  if (led) return std::move(*led);
  tell(led.error(), was_left_alone);
  return nullptr;
}

void Shared::give(const Key& key, const remote::FleetLease* lease) const {
  const auto record = Outgoing::open(*root_, key);
  if (!record) return warn(record.error());
  if (!*record) return;  // removed since
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  const auto given = tier_->publish(key, (*record)->header(), (*record)->descriptor(),
                                    lease == nullptr ? remote::Fence() : lease->fence());
  if (!given) tell(given.error(), was_left_alone);
}

void Shared::remove(const Key& key) const {
  const bool was_left_alone = tier_->breaker().left().count() > 0;
  const auto removed = tier_->remove(key);
  if (removed) return;
  auto why = Error(removed.error()).within("'" + key.printable() + "' stays on the server");
  tell(why, was_left_alone);
}

}  // namespace cachectl::refresh
