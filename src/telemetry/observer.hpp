// Observer: is told what a cache does, each thing once, as it happens.
//
//   CacheOptions options;
//   options.observers.push_back(std::make_shared<MyObserver>());
//
// A cache without observers pays a comparison for each happening. With some, nothing that
// somebody waits for comes after the call: a hit is told when its answer was passed on.
//
// What fills which fields, beside `key`:
//
//   what                   duration        bytes        generation        status
//   hit, stale_hit         of the answer   passed on    of the value      of the value
//   miss, uncached
//   shared                 since asked     passed on    of the attempt    of the source
//   stand_in               since asked     passed on    of the value
//   remembered_failure     since asked     passed on    of the attempt    of the source
//   source_started                                      that it makes
//   source_ended           of the source   printed      that it makes     of the source
//   failed_*               of the source                that it makes     of the source
//   early_refresh, stale_refresh                        that was served
//   refresh_ended          of the refresh               newest then       of the source
//   published              of the source   size         that is new       of the source
//   removed, expired, evicted              size
//   lock_acquired          of the wait
//   lock_timed_out         of the wait
//   lock_released          it was held
//   lease_acquired, lease_lost
//   checked_out            until ready                  of the replica
//   checked_in             it was lent (0: not known)
//   pool_exhausted         of the wait
//   remote_hit             of the answer   of the record of the value
//   remote_miss            of the answer
//   remote_published       of the answer   of the record of the value
//   remote_removed         of the answer
//   remote_failed_*        until then
//   breaker_opened, breaker_closed
//
// A request is told as one of hit, stale_hit and miss; what then becomes of a miss is told
// apart. `refresh` and the like ask for no stored value, and are none of them.
//
// Thread and process rules: called by any thread that works with the cache, also by several
// at once; never while a lock of the observer's caller could wait for it. A process that
// goes on behind (a refresh, the holder of a lease) is a fork of the one that the observer
// was made in: see left_caller.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "lock/directory.hpp"

namespace cachectl::telemetry {

enum class What {
  hit,                 ///< a fresh value answered
  stale_hit,           ///< one that is to be made anew did, at once
  miss,                ///< no value that could answer at once
  shared,              ///< answered by the attempt of another, which ran meanwhile
  stand_in,            ///< answered by a stale value, because the source failed
  remembered_failure,  ///< answered by a failure that is not to be tried again yet
  uncached,            ///< the source is run, and the cache cannot take part

  source_started,
  source_ended,
  failed_status,  ///< the exit status of the source is a failure
  failed_timeout,
  failed_empty,  ///< it printed nothing, and is to print something
  failed_start,  ///< it cannot be started
  failed_store,  ///< its output could not be stored

  early_refresh,  ///< a process makes the value anew, which is fresh still
  stale_refresh,  ///< a process makes the value anew, which was served stale
  refresh_ended,  ///< that process is done

  published,
  removed,  ///< by a user
  expired,  ///< removed by gc: nobody may serve it any more
  evicted,  ///< removed by gc: there was no room

  lock_acquired,
  lock_timed_out,
  lock_released,
  lease_acquired,
  lease_lost,  ///< it has expired, its holder was told to end, or is found killed

  checked_out,  ///< a replica is ready for its new owner
  checked_in,
  pool_exhausted,  ///< no replica came free in time

  remote_hit,                ///< a server had a value that this machine had not
  remote_miss,               ///< it had none that may be served
  remote_published,          ///< it has taken one
  remote_removed,            ///< it has none any more
  remote_failed_connection,  ///< see remote/failure.hpp; of each value that this concerns
  remote_failed_serialization,
  remote_failed_memory,
  remote_failed_cache,
  breaker_opened,  ///< the server is left alone from now on
  breaker_closed,  ///< it is asked again
};

/// "stale_hit".
[[nodiscard]] std::string_view name_of(What what);

struct Happening {
  What what;
  /// Any bytes. Empty: the whole cache, or not known. As long as the call only.
  std::string_view key = {};
  std::chrono::nanoseconds duration{0};
  std::chrono::nanoseconds saved{0};  ///< of a hit: the time that its source took
  std::uint64_t bytes = 0;
  std::uint64_t generation = 0;
  int status = 0;
};

class Observer {
 public:
  Observer() = default;
  virtual ~Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  /// There is a cache: its directory, which outlives all that happens, and the mode of the
  /// files in it. Before anything else; never where there is none.
  virtual void opened(const lock::Directory& root, mode_t file_mode);

  /// Throws nothing.
  virtual void happened(const Happening& what) = 0;

  /// This process, a fork, has closed all its descriptors but the cache's own: what the
  /// observer had open is gone, and the numbers may be those of other files.
  virtual void left_caller();
};

using Observers = std::vector<std::shared_ptr<Observer>>;

inline void tell(const Observers* observers, const Happening& what) {
  if (observers == nullptr) return;
  for (const auto& each : *observers) each->happened(what);
}

/// How long something takes.
class Stopwatch {
 public:
  [[nodiscard]] std::chrono::nanoseconds elapsed() const {
    return std::chrono::steady_clock::now() - start_;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace cachectl::telemetry
