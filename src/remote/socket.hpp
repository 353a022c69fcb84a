// Sockets to a server, each wait bounded by a deadline: connecting, looking up the name of
// the host, waiting for bytes.
//
// The sockets do not block, and whoever waits does so in poll(2): SO_RCVTIMEO bounds one
// read and not one answer, so that a server which sends a byte now and then holds its client
// for ever.
//
// A name is looked up by getent(1), in a child that is killed at the deadline: the resolver of
// the C library cannot be interrupted, and does not work in a static program. "localhost"
// and addresses need none.
//
// Thread-safe: no state.
#pragma once

#include <poll.h>

#include <span>

#include "lock/deadline.hpp"
#include "lock/fd.hpp"
#include "src/remote/options.hpp"

namespace cachectl::remote {

/// poll(2) for `events`, and again when a signal interrupts it; false: the deadline passed.
[[nodiscard]] Result<bool> wait_for_socket(int socket, short events,
                                           const lock::Deadline& deadline);

[[nodiscard]] Result<bool> wait_for_any(std::span<pollfd> waited, const lock::Deadline& deadline);

/// A connected socket, non-blocking. Errc::unreachable when there is none in time.
[[nodiscard]] Result<lock::Fd> connect_to_server(const Address& address,
                                                 const lock::Deadline& deadline);

}  // namespace cachectl::remote
