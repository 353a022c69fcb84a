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

/// True: it has come, checked.
Result<bool> Shared::fetch(const Key& key, Incoming& incoming, const Since& since) const {
  std::uint64_t bytes = 0;
  auto fetched = tier_->fetch(key, [&](lock::Bytes part) {
    bytes += part.size();
    return incoming.append(part);
  });
  if (!fetched && !incoming.is_useless()) return fetched;
  const bool is_hit = fetched && *fetched;
  root_->tell({is_hit ? What::remote_hit : What::remote_miss, key.bytes(), since.elapsed(),
               std::chrono::nanoseconds(0), is_hit ? bytes : 0});
  return is_hit;
}

Result<bool> Shared::take(const Key& key, const store::Retention& retention) const {
  Incoming incoming(*root_, key, clock_->now(), Incoming::Wanted::news);
  const Since since;
  auto taken = fetch(key, incoming, since);
  if (taken && *taken) {
    if (const auto published = incoming.publish(retention); !published) {
      taken = fail(published.error());
    }
  }
  if (!taken && (remote::kind_of(taken.error()) || taken.error().code == Errc::format)) {
    tell_failure(key, taken.error(), since);
    return false;
  }
  return taken;
}

Result<bool> Shared::copy_to(const Key& key, int descriptor, std::string_view name) const {
  Incoming incoming(*root_, key, clock_->now(), Incoming::Wanted::fresh);
  CACHECTL_ASSIGN(const bool fetched, fetch(key, incoming, {}));
  if (fetched) CACHECTL_TRY(incoming.copy_to(descriptor, name));
  return fetched;
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
  const auto given = publish(key, (*record)->header(), (*record)->descriptor(),
                             lease == nullptr ? remote::Fence() : lease->fence());
  if (!given) tell_failure(key, given.error(), since);
}

Result<bool> Shared::publish(const Key& key, const store::RecordHeader& header,
                             int record_descriptor, const remote::Fence& fence) const {
  const Since since;
  CACHECTL_ASSIGN(const bool given, tier_->publish(key, header, record_descriptor, fence));
  if (given) {
    root_->tell({What::remote_published, key.bytes(), since.elapsed(), std::chrono::nanoseconds(0),
                 header.file_size(), header.generation});
  }
  return given;
}

std::optional<bool> Shared::has(const Key& key) const {
  const Since since;
  const auto name = tier_->names().head(key);
  const auto reply = tier_->ask(name, {"EXISTS", name});
  if (reply) return (*reply)->integer > 0;
  tell_failure(key, reply.error(), since);
  return std::nullopt;
}

Result<bool> Shared::try_remove(const Key& key) const {
  const Since since;
  CACHECTL_ASSIGN(const bool removed, tier_->remove(key));
  if (removed) root_->tell({What::remote_removed, key.bytes(), since.elapsed()});
  return removed;
}

bool Shared::remove(const Key& key) const {
  const Since since;
  const auto removed = try_remove(key);
  if (removed) return *removed;
  if (removed.error().code == Errc::left_alone) {
    // No news of the server, but of the value, which may come back. The same text for all keys.
    if (warn_) {
      warn_(Error(removed.error())
                .within("deleted here only")
                .advising("delete it again when the server is back"));
    }
    return false;
  }
  tell_failure(key,
               Error(removed.error()).within("'" + key.printable() + "' may stay on the server"),
               since);
  return false;
}

}  // namespace cachectl::refresh
