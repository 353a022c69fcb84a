#include "src/refresh/shared.hpp"

#include "src/refresh/travel.hpp"
#include "src/remote/failure.hpp"

namespace cachectl::refresh {

using telemetry::What;

namespace {

What failure_of(remote::Kind kind) {
  switch (kind) {
    case remote::Kind::connection:
      return What::remote_failed_connection;
    case remote::Kind::serialization:
      return What::remote_failed_serialization;
    case remote::Kind::memory:
      return What::remote_failed_memory;
    case remote::Kind::cache:
      break;
  }
  return What::remote_failed_cache;
}

}  // namespace

void Shared::tell_failure(const Key& key, const Error& why, const Since& since) const {
  if (why.code == Errc::left_alone) return;  // no news
  if (const auto kind = remote::kind_of(why)) {
    root_->tell({failure_of(*kind), key.bytes(), since.elapsed()});
  }
  if (warn_) warn_(Error(why).advising("going on without it"));
}

void Shared::damaged(const Key& key, const Error& why) const {
  root_->tell({What::remote_failed_serialization, key.bytes()});
  if (warn_) warn_(why);
}

void Shared::changed(bool is_open) const {
  root_->tell({is_open ? What::breaker_opened : What::breaker_closed});
}

Result<bool> Shared::take(const Key& key, const store::Retention& retention) const {
  Incoming incoming(*root_, key, clock_->now());
  const Since since;
  std::uint64_t bytes = 0;
  auto taken = tier_->fetch(key, [&](lock::Bytes part) {
    bytes += part.size();
    return incoming.append(part);
  });
  if (taken || incoming.is_useless()) {
    const bool is_hit = taken && *taken;
    root_->tell({is_hit ? What::remote_hit : What::remote_miss, key.bytes(), since.elapsed(),
                 std::chrono::nanoseconds(0), is_hit ? bytes : 0});
  }
  if (taken && *taken) {
    if (const auto published = incoming.publish(retention); !published) {
      taken = fail(published.error());
    }
  }
  if (!taken && incoming.is_useless()) return false;
  if (!taken && (remote::kind_of(taken.error()) || taken.error().code == Errc::format)) {
    tell_failure(key, taken.error(), since);
    return false;
  }
  return taken;
}

std::unique_ptr<remote::FleetLease> Shared::lead(const Key& key,
                                                 const lock::Deadline& deadline) const {
  const Since since;
  auto led = remote::FleetLease::lead(*tier_, key, deadline);
  if (led) return std::move(*led);
  tell_failure(key, led.error(), since);
  return nullptr;
}

void Shared::give(const Key& key, const remote::FleetLease* lease) const {
  const auto record = Outgoing::open(*root_, key);
  if (!record && warn_) warn_(Error(record.error()).advising("going on without it"));
  if (!record || !*record) return;  // removed since
  const Since since;
  const auto given = tier_->publish(key, (*record)->header(), (*record)->descriptor(),
                                    lease == nullptr ? remote::Fence() : lease->fence());
  if (!given) return tell_failure(key, given.error(), since);
  if (!*given) return;  // a newer one is there
  const auto& header = (*record)->header();
  root_->tell({What::remote_published, key.bytes(), since.elapsed(), std::chrono::nanoseconds(0),
               header.file_size(), header.generation});
}

std::optional<bool> Shared::has(const Key& key) const {
  const Since since;
  const auto name = tier_->names().head(key);
  const auto reply = tier_->ask(name, {"EXISTS", name});
  if (reply) return (*reply)->integer > 0;
  tell_failure(key, reply.error(), since);
  return std::nullopt;
}

void Shared::remove(const Key& key) const {
  const Since since;
  const auto removed = tier_->remove(key);
  if (!removed) {
    auto why = Error(removed.error()).within("'" + key.printable() + "' stays on the server");
    return tell_failure(key, why, since);
  }
  if (*removed) root_->tell({What::remote_removed, key.bytes(), since.elapsed()});
}

}  // namespace cachectl::refresh
