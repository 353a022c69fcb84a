// gc: removes what nobody can use any more, and, when asked, what was used least
// recently.
//
//   tmp/       files whose creator is dead: those that gc can lock. Never by age.
//   leases/    files of leases that have ended: as above, by their lock, unless the policy
//              says that they are needed; and sockets whose lease has ended
//   attempts/  outcomes that everybody who waited for them has long read
//   entries/   records past their expiry and stale windows; damaged records among them.
//              Each is looked at again under its key's lock before it goes; one whose
//              key is locked is left for the next time.
//   trees/     generations that were superseded a while ago and are not pinned, see trees.hpp
//   entries/   with a limit: records by the time of their last use, the oldest first
//
// Safe beside everything: readers keep what they have open, writers hold their locks.
// A record whose format version is unknown, and a file that is no record by its name,
// is left alone. Memory is bounded, whatever the number of entries: the times of use are
// counted in a histogram, not listed.
//
// "Nothing to do" costs one status call for each entry, because the modification time of
// a record is its expiry.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "src/clock.hpp"
#include "src/store/trees.hpp"

namespace cachectl::store {

enum class DryRun { no, yes };

struct GcPolicy {
  static constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_size = kUnlimited;  ///< bytes of all records together
  std::uint64_t max_entries = kUnlimited;
  lock::Deadline deadline = lock::Deadline::never();
  DryRun dry_run = DryRun::no;
  Retention retention;  ///< of superseded trees
  /// Whether the file of this lease still means something, though nobody locks it.
  std::function<bool(const std::string& id)> keeps_lease;
};

struct Tally {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  void add(std::uint64_t size) {
    ++files;
    bytes += size;
  }
};

struct GcReport {
  Tally expired;
  Tally damaged;
  Tally evicted;
  Tally attempts;
  Tally staging;
  Tally leases;                 ///< files and sockets of leases that have ended
  Tally trees;                  ///< superseded generations
  Tally replicas;               ///< idle ones of pools; their size is not known
  Tally kept;                   ///< records that stay
  std::uint64_t busy = 0;       ///< would have gone, but somebody works on it
  bool complete = true;         ///< false: the deadline came first
  std::vector<Error> problems;  ///< what could not be looked at or removed
};

/// Errors are those that keep it from working at all; others are in the report.
[[nodiscard]] Result<GcReport> collect(const Root& root, const Clock& clock,
                                       const GcPolicy& policy);

}  // namespace cachectl::store
