// What an event log says, summed up for charts: src/telemetry/event_log.hpp writes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lock/result.hpp"

namespace cachectl::cli {

/// One span of time.
struct EventSpan {
  std::uint64_t hits = 0;  ///< of any age; of those spans in which gc wrote the counters down
  std::uint64_t misses = 0;
  std::uint64_t waits = 0;      ///< for locks
  double longest_wait = 0;      ///< in seconds
  std::uint64_t timeouts = 0;   ///< waits that were given up
  std::uint64_t refreshes = 0;  ///< sources that ended well
  std::uint64_t failures = 0;   ///< those that did not
};

struct KeySummary {
  std::uint64_t refreshes = 0;
  std::uint64_t failures = 0;
  double source_seconds = 0;
};

struct EventSummary {
  std::int64_t start = 0;  ///< in seconds since 1970, of the first span
  std::int64_t width = 1;  ///< of a span, in seconds
  std::vector<EventSpan> spans;
  std::map<std::string, KeySummary> keys;  ///< by printable key
  std::uint64_t unreadable = 0;            ///< lines that are no event
};

/// Reads PATH.1 and PATH; a log that is not there is an empty one.
[[nodiscard]] Result<EventSummary> sum_up_events(const std::string& path);

}  // namespace cachectl::cli
