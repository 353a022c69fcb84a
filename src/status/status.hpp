// Status: what is in a cache, and who is at work on it, at one moment.
//
// Takes no lock and keeps nobody waiting. Each record is opened once, and only its header
// is read. Numbers and locks are not of the very same moment.
//
// Thread-safe: no state.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/cache.hpp"
#include "src/daemon/instance.hpp"

namespace cachectl::status {

/// By the windows that each was stored with.
struct Entries {
  std::uint64_t count = 0;
  std::uint64_t fresh = 0;
  std::uint64_t stale = 0;  ///< may be served while it is made anew
  std::uint64_t expired = 0;
  std::uint64_t trees = 0;    ///< of all, those that are files or directories
  std::uint64_t damaged = 0;  ///< that cannot be read, and are not counted
  std::uint64_t bytes = 0;    ///< records, and the trees that they name
};

struct Pool {
  std::string key;  ///< empty: nothing is stored under it
  KeyHash hash;
  std::map<pool::Condition, unsigned> replicas;
  [[nodiscard]] unsigned number_of(pool::Condition condition) const;
};

/// Somebody, as far as known.
struct Process {
  pid_t pid = 0;        ///< 0: not known
  std::string command;  ///< may be empty; not escaped
};

/// A lock in cache.lock that somebody holds.
struct Lock {
  enum class Kind {
    cache,  ///< all of it
    key,
    turn,  ///< held by who waits for all of it: the others come after him
  };
  Kind kind = Kind::key;
  std::string key;     ///< of Kind::key; empty: nothing is stored under it
  unsigned depth = 0;  ///< 0: outermost; else inside another one, see lock/lock_table.hpp
  lock::Mode mode = lock::Mode::exclusive;
  Process owner;                                  ///< by its note, else one of the holders
  std::optional<std::chrono::sys_seconds> since;  ///< by the note
  std::vector<pid_t> holders;  ///< who keeps it, by the system: owner, children, a lease's holder
  unsigned waiting = 0;
  std::vector<Process> waiters;  ///< those that are known
};

struct Status {
  bool exists = false;
  WallTime now;
  Entries entries;
  std::vector<Pool> pools;
  std::vector<Lock> locks;
  std::vector<lease::Lease> leases;  ///< those that live
  std::optional<daemon::Instance::Other> daemon;
  std::uint64_t superseded = 0;  ///< generations of trees that are no value any more
  std::uint64_t staged = 0;      ///< files in tmp/, of living and dead
};

[[nodiscard]] Result<Status> take(const Cache& cache);

}  // namespace cachectl::status
