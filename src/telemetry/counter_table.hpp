// The counters: the one table that declares each of them once.
//
// The file, `cachectl stats`, its JSON and the Prometheus text all come from it. A counter
// is one of a family where it has a label: requests_total{result="hit"}. Members of a
// family stand side by side and share its name, unit and help.
//
// Constant data: costs nothing at process start, safe from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace cachectl::telemetry {

enum class Counter : std::size_t {
  hits,
  stale_hits,
  misses,
  shared,
  stand_ins,
  remembered_failures,
  uncached,
  saved,
  served,
  stored,
  source_runs,
  failed_status,
  failed_timeout,
  failed_empty,
  failed_start,
  failed_store,
  early_refreshes,
  stale_refreshes,
  refreshes_ended,
  publishes,
  deleted,
  expired,
  evicted,
  evicted_size,
  lock_timeouts,
  leases,
  leases_lost,
  checkins,
  pool_timeouts,
  remote_hits,
  remote_misses,
  remote_publishes,
  remote_removals,
  remote_received,
  remote_sent,
  remote_failed_connection,
  remote_failed_serialization,
  remote_failed_memory,
  remote_failed_cache,
  breaker_openings,
  breaker_closings,
};

enum class Unit {
  none,
  bytes,
  seconds,  ///< counted in nanoseconds, told in seconds
};

struct CounterInfo {
  Counter counter;
  std::string_view family;  ///< "requests"
  std::string_view label;   ///< "result"; empty: it has none
  std::string_view value;   ///< "hit"
  Unit unit;
  std::string_view help;  ///< of the family, no full stop
};

inline constexpr std::array kCounters = std::to_array<CounterInfo>({
    {Counter::hits, "requests", "result", "hit", Unit::none, "Requests for a value"},
    {Counter::stale_hits, "requests", "result", "stale", Unit::none, "Requests for a value"},
    {Counter::misses, "requests", "result", "miss", Unit::none, "Requests for a value"},
    {Counter::shared, "shared", "", "", Unit::none,
     "Requests that were answered by the run of another, which went on meanwhile"},
    {Counter::stand_ins, "stand_ins", "", "", Unit::none,
     "Requests that got a stale value because the source failed"},
    {Counter::remembered_failures, "remembered_failures", "", "", Unit::none,
     "Requests that got a failure which was not to be tried again yet"},
    {Counter::uncached, "uncached", "", "", Unit::none,
     "Requests that ran the source because the cache could not take part"},
    {Counter::saved, "saved", "", "", Unit::seconds, "Time that the sources of hits once took"},
    {Counter::served, "served", "", "", Unit::bytes, "Bytes of stored values passed on"},
    {Counter::stored, "stored", "", "", Unit::bytes, "Bytes of values published"},
    {Counter::source_runs, "source_runs", "", "", Unit::none, "Starts of sources"},
    {Counter::failed_status, "failures", "kind", "status", Unit::none, "Failures of sources"},
    {Counter::failed_timeout, "failures", "kind", "timeout", Unit::none, "Failures of sources"},
    {Counter::failed_empty, "failures", "kind", "empty", Unit::none, "Failures of sources"},
    {Counter::failed_start, "failures", "kind", "start", Unit::none, "Failures of sources"},
    {Counter::failed_store, "failures", "kind", "store", Unit::none, "Failures of sources"},
    {Counter::early_refreshes, "refreshes", "kind", "early", Unit::none,
     "Refreshes that were started behind a reader"},
    {Counter::stale_refreshes, "refreshes", "kind", "stale", Unit::none,
     "Refreshes that were started behind a reader"},
    {Counter::refreshes_ended, "refreshes_ended", "", "", Unit::none,
     "Refreshes behind a reader that came to their end"},
    {Counter::publishes, "publishes", "", "", Unit::none, "Values published"},
    {Counter::deleted, "removals", "reason", "deleted", Unit::none, "Values removed"},
    {Counter::expired, "removals", "reason", "expired", Unit::none, "Values removed"},
    {Counter::evicted, "removals", "reason", "evicted", Unit::none, "Values removed"},
    {Counter::evicted_size, "evicted", "", "", Unit::bytes, "Bytes removed to make room"},
    {Counter::lock_timeouts, "lock_timeouts", "", "", Unit::none,
     "Waits for a lock that ended at their deadline"},
    {Counter::leases, "leases", "", "", Unit::none, "Leases taken of locks"},
    {Counter::leases_lost, "leases_lost", "", "", Unit::none,
     "Leases that ended before their owner gave them back"},
    {Counter::checkins, "checkins", "", "", Unit::none, "Replicas given back"},
    {Counter::pool_timeouts, "pool_timeouts", "", "", Unit::none,
     "Waits for a replica that ended at their deadline"},
    {Counter::remote_hits, "remote_requests", "result", "hit", Unit::none,
     "Values that the remote server was asked for"},
    {Counter::remote_misses, "remote_requests", "result", "miss", Unit::none,
     "Values that the remote server was asked for"},
    {Counter::remote_publishes, "remote_publishes", "", "", Unit::none,
     "Values that the remote server has taken"},
    {Counter::remote_removals, "remote_removals", "", "", Unit::none,
     "Values removed from the remote server"},
    {Counter::remote_received, "remote_received", "", "", Unit::bytes,
     "Bytes of records that came from the remote server"},
    {Counter::remote_sent, "remote_sent", "", "", Unit::bytes,
     "Bytes of records that the remote server has taken"},
    {Counter::remote_failed_connection, "remote_failures", "kind", "connection", Unit::none,
     "Failures of the remote server"},
    {Counter::remote_failed_serialization, "remote_failures", "kind", "serialization", Unit::none,
     "Failures of the remote server"},
    {Counter::remote_failed_memory, "remote_failures", "kind", "memory", Unit::none,
     "Failures of the remote server"},
    {Counter::remote_failed_cache, "remote_failures", "kind", "cache", Unit::none,
     "Failures of the remote server"},
    {Counter::breaker_openings, "breaker_changes", "to", "open", Unit::none,
     "Times that the remote server came to be left alone, and to be asked again"},
    {Counter::breaker_closings, "breaker_changes", "to", "closed", Unit::none,
     "Times that the remote server came to be left alone, and to be asked again"},
});

/// How long something takes, as a histogram.
enum class Timing : std::size_t { hit, lock_wait, lock_hold, source, checkout, remote };

struct TimingInfo {
  Timing timing;
  std::string_view name;
  std::string_view help;
};

inline constexpr std::array kTimings = std::to_array<TimingInfo>({
    {Timing::hit, "hit", "From the request to the last byte of a hit"},
    {Timing::lock_wait, "lock_wait", "Waits for locks that were granted"},
    {Timing::lock_hold, "lock_hold", "How long locks were held"},
    {Timing::source, "source", "Run time of sources"},
    {Timing::checkout, "checkout", "From the request to the replica that is ready"},
    {Timing::remote, "remote", "From a request to the remote server to the end of its answer"},
});

[[nodiscard]] constexpr std::size_t index_of(Counter counter) {
  return static_cast<std::size_t>(counter);
}
[[nodiscard]] constexpr std::size_t index_of(Timing timing) {
  return static_cast<std::size_t>(timing);
}

/// Changes whenever a counter is added, removed, renamed or moved: a file with another one
/// means something else.
[[nodiscard]] constexpr std::uint64_t table_signature() {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  const auto add = [&](std::string_view text) {
    for (const char each : text) {
      hash = (hash ^ static_cast<unsigned char>(each)) * 0x100000001b3U;
    }
    hash = (hash ^ 0xffU) * 0x100000001b3U;
  };
  for (const auto& each : kCounters) {
    add(each.family);
    add(each.value);
  }
  for (const auto& each : kTimings) add(each.name);
  return hash;
}

namespace table_check {

constexpr bool is_in_order() {
  for (std::size_t at = 0; at < kCounters.size(); ++at) {
    if (index_of(kCounters[at].counter) != at) return false;
  }
  for (std::size_t at = 0; at < kTimings.size(); ++at) {
    if (index_of(kTimings[at].timing) != at) return false;
  }
  return true;
}
static_assert(is_in_order(), "the tables stand in the order of their enumerators");

}  // namespace table_check

}  // namespace cachectl::telemetry
