// Freshness: how long a value may be served, and when it is made anew. Pure functions.
//
//   created          expires        + stale-while-     + stale-if-error
//      |--- fresh ------|            revalidate              |
//      |          early |--- stale -----|------ expired -----:----->
//      |          |XXXXX|  served at    |  made anew, and    :
//      |   maybe  |     |  once, made   |  served only if    :
//      |   made   |     |  anew behind  |  that fails        :
//
// The words are those of RFC 5861: both windows start where the TTL ends. What is stored
// says when it was made and when it expires; the windows are the asker's, so that a change
// of the configuration counts at once. docs/freshness.md has the picture.
//
// Thread-safe: no state.
#pragma once

#include <chrono>
#include <map>

#include "src/choices.hpp"
#include "src/store/record.hpp"

namespace cachectl::refresh {

/// How long values may be served.
struct Windows {
  /// The value expires this long after it was made, and a value older than this is not
  /// fresh, whatever it was stored with.
  std::chrono::nanoseconds ttl = std::chrono::seconds(60);
  /// The same for the results of sources that ended with these statuses. A failure in here
  /// is not tried again for as long.
  std::map<int, std::chrono::nanoseconds> ttl_by_status = {};
  std::chrono::nanoseconds stale_while_revalidate{0};
  std::chrono::nanoseconds stale_if_error{0};
  /// Expired when nobody has read it for this long.
  std::chrono::nanoseconds expire_after_access = std::chrono::nanoseconds::max();
  /// The part of the TTL, from 0 to 1, by which it may be shorter: drawn for each value.
  double jitter = 0;
  /// XFetch: 1 is the optimum of its authors, more refreshes earlier, 0 never does.
  double beta = 0;
  /// Within the last `refresh_threshold` of its life, each read refreshes with this
  /// probability.
  std::chrono::nanoseconds refresh_threshold{0};
  double refresh_probability = 0;

  /// By the status that the source ended with.
  [[nodiscard]] std::chrono::nanoseconds ttl_of(int status) const;
};

enum class State {
  fresh,    ///< within its TTL
  stale,    ///< past it, and within stale-while-revalidate
  expired,  ///< past both
};

/// A number from (0, 1], evenly distributed, of the system's random source.
[[nodiscard]] double draw();

/// When its source was started, by the clock of the machine that made it.
[[nodiscard]] WallTime begun(const store::RecordHeader& header);

/// When the value stops being fresh.
[[nodiscard]] WallTime expiry(const store::RecordHeader& header, const Windows& windows);

/// `last_used`: when it was last read or written. A record from the future was written by a
/// clock that has been set back since, so its times mean nothing: expired.
[[nodiscard]] State state_of(const store::RecordHeader& header, WallTime last_used,
                             const Windows& windows, WallTime now);

/// Whether `now` is within stale-if-error of the value's expiry.
[[nodiscard]] bool may_replace_failure(const store::RecordHeader& header, const Windows& windows,
                                       WallTime now);

/// Whether the value is served in place of one that could not be made. The result of a source
/// that failed never is.
[[nodiscard]] bool may_stand_in(const store::RecordHeader& header, OnError on_error,
                                const Windows& windows, WallTime now);

/// Whether a read at `now` of a fresh value refreshes it, for a number drawn from (0, 1]:
/// by XFetch, where now - delta * beta * ln(u) >= expiry (Vattani, Chierichetti, Lowenstein:
/// "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015; delta is how long the source
/// took last time), or by the simpler rule of threshold and probability.
[[nodiscard]] bool refreshes_early(const store::RecordHeader& header, const Windows& windows,
                                   WallTime now, double u);

/// The life of a new value, for a number drawn from (0, 1].
[[nodiscard]] std::chrono::nanoseconds lifetime(const Windows& windows, int status, double u);

}  // namespace cachectl::refresh
