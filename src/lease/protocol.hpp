// What the holder of a lease and its clients say to each other.
//
// One message a request, one an answer (lock/local_socket.hpp); a client may ask several
// times.
//
//   client                 holder
//   descriptor             ok 0:0:d0d496e05c553485:x    with the locked descriptors, see below
//   renew NANOSECONDS      ok                           it ends that long from now
//   release                ok                           sent when the lock is free
//   (anything)             no WHY
//
// The locks are encoded as in CACHECTL_LOCK (lock/lock_table.hpp), outermost first; for
// the number of each descriptor stands its place among those that came with the message.
// There is more than one where the lease was acquired inside another lock.
//
// Rejected: binary structures. Clients of another version, and people with strace, read
// this as well, and no request is frequent.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "lock/local_socket.hpp"
#include "lock/lock_table.hpp"

namespace cachectl::lease {

struct Request {
  enum class Kind { descriptor, renew, release };
  Kind kind = Kind::descriptor;
  std::chrono::nanoseconds duration{};  ///< renew; max: for ever

  [[nodiscard]] std::string encode() const;
  [[nodiscard]] static std::optional<Request> decode(std::string_view text);
};

inline constexpr std::string_view kOk = "ok";

/// The answer to `descriptor`, and what came with it, made usable: the numbers in the
/// locks are those of the descriptors. nullopt: not an answer of that kind.
[[nodiscard]] std::string encode_locks(const lock::OuterLocks& locks);
[[nodiscard]] std::optional<lock::OuterLocks> decode_locks(const lock::Message& answer);

}  // namespace cachectl::lease
