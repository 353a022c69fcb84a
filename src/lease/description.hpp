// Description: what a lease file says of a lease, for people.
//
// A hint, never the truth: a lease lives while its file is locked, and holds what its
// holder's descriptor holds. One line for each field:
//
//   cachectl lease 1
//   ended=no                   no, owner, expired or signal, padded to a fixed width
//   expires=1795277082123      milliseconds since 1970, or never; padded to a fixed width
//   holder=4711
//   owner=812 48213 4026531836 PID, start time in clock ticks, inode of the PID namespace
//   since=1795277022000
//   mode=exclusive
//   holds=key user:123         or: cache, or: replica 3 of user:123
//   command=bash deploy.sh
//
// The two fields that change keep their place and size, so that the holder overwrites
// them with one small write. Rejected: a new file for each change (the lock on the old one
// is what says that the lease lives), appending lines (a lease that is renewed for weeks
// grows).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lock/file_lock.hpp"
#include "lock/process.hpp"
#include "src/clock.hpp"

namespace cachectl::lease {

/// Why a lease ended, as far as its holder could still write it down.
enum class Ended { no, owner, expired, signal };

struct Description {
  Ended ended = Ended::no;
  WallTime expires = kNever;
  pid_t holder = 0;
  lock::ProcessIdentity owner;
  WallTime since;
  lock::Mode mode = lock::Mode::exclusive;
  std::optional<std::string> key;  ///< nullopt: the whole cache
  unsigned replica = 0;            ///< of the key's pool; 0: it is a lock
  std::string command;             ///< of the owner

  /// "key user:123", "cache", "replica 3 of user:123"; escaped.
  [[nodiscard]] std::string holds() const;
  [[nodiscard]] std::string encode() const;
  [[nodiscard]] static std::optional<Description> decode(std::string_view text);
};

/// Overwrites a field in a lease file; failure is of no consequence.
void note_end(int descriptor, Ended ended);
void note_expiry(int descriptor, WallTime expires);
void note_holder(int descriptor, pid_t holder);

}  // namespace cachectl::lease
