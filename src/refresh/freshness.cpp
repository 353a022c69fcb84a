#include "src/refresh/freshness.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lock/retry.hpp"

namespace cachectl::refresh {

using std::chrono::nanoseconds;

nanoseconds Windows::ttl_of(int status) const {
  const auto found = ttl_by_status.find(status);
  return found == ttl_by_status.end() ? ttl : found->second;
}

double draw() {
  std::uint64_t bits = 0;
  // Without randomness (a strict sandbox) the middle: nothing depends on it but when.
  if (lock::retry([&] { return ::getrandom(&bits, sizeof bits, 0); }) != sizeof bits) return 0.5;
  constexpr double kSteps = 9007199254740992.0;  // 2^53: each is a double
  return (static_cast<double>(bits >> 11U) + 1) / kSteps;
}

WallTime begun(const store::RecordHeader& header) {
  const auto latest = std::max(header.created.time_since_epoch(), nanoseconds(0));
  return header.created - std::clamp(header.source_duration, nanoseconds(0), latest);
}

WallTime expiry(const store::RecordHeader& header, const Windows& windows) {
  return std::min(header.expires, later(header.created, windows.ttl_of(header.exit_status)));
}

State state_of(const store::RecordHeader& header, WallTime last_used, const Windows& windows,
               WallTime now) {
  if (store::is_from_future(header, now)) return State::expired;
  if (now >= later(last_used, windows.expire_after_access)) return State::expired;
  const auto ends = expiry(header, windows);
  if (now < ends) return State::fresh;
  return now < later(ends, windows.stale_while_revalidate) ? State::stale : State::expired;
}

bool may_replace_failure(const store::RecordHeader& header, const Windows& windows, WallTime now) {
  return !store::is_from_future(header, now) &&
         now < later(expiry(header, windows), windows.stale_if_error);
}

bool may_stand_in(const store::RecordHeader& header, OnError on_error, const Windows& windows,
                  WallTime now) {
  if (header.exit_status != 0 || on_error == OnError::fail) return false;
  return on_error == OnError::last_good || may_replace_failure(header, windows, now);
}

bool refreshes_early(const store::RecordHeader& header, const Windows& windows, WallTime now,
                     double u) {
  const auto ends = expiry(header, windows);
  if (ends == kNever) return false;
  const auto left = static_cast<double>((ends - now).count());
  if (windows.beta > 0) {
    const auto delta = static_cast<double>(header.source_duration.count());
    if (-delta * windows.beta * std::log(u) >= left) return true;
  }
  return ends - now <= windows.refresh_threshold && u <= windows.refresh_probability;
}

nanoseconds lifetime(const Windows& windows, int status, double u) {
  const auto ttl = windows.ttl_of(status);
  if (windows.jitter <= 0 || ttl == nanoseconds::max()) return ttl;
  const double shorter = static_cast<double>(ttl.count()) * windows.jitter * u;
  return ttl - std::min(ttl, nanoseconds(static_cast<std::int64_t>(shorter)));
}

}  // namespace cachectl::refresh
