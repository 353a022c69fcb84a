// Http: pages for whoever may connect: GET and HEAD, one request a connection.
//
// Who connects may be slow, many, or speak nonsense: a request has so much time and so many
// bytes, and when too many are connected the oldest has to go. Nothing that a client sends is
// kept or executed; what is answered is the caller's.
//
//   reading --head complete, too long, or time over--> answering --sent--> draining --> closed
//
// Draining reads what a client still sends: closing before that would take the answer back.
//
// The grammar is Boost.Beast's. Not its sockets: Asio has objects that every process would
// make at its start, and a hit is mostly the start of a process.
//
// Thread rules: belongs to one thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "lock/fd.hpp"
#include "lock/worker.hpp"

namespace cachectl::daemon {

struct Answer {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

/// Of a path without its query.
using Pages = std::function<Answer(std::string_view path)>;

struct HttpLimits {
  std::size_t connections = 64;
  std::size_t head = 8 * 1024;  ///< request line and headers
  std::chrono::milliseconds time = std::chrono::seconds(5);
};

/// "127.0.0.1:9100", "[::1]:9100", or "9100", which is at 127.0.0.1. Numbers only: a name
/// would have to be looked up. Port 0: the system chooses one. Errc::config: it is none;
/// Errc::io and the like: nobody may listen there.
[[nodiscard]] Result<lock::Fd> listen_on(const std::string& text);

/// Where a socket listens, "127.0.0.1:9100".
[[nodiscard]] std::string address_of(int listener);

/// Answers until the process is ended. For a worker; returns when it cannot go on.
[[nodiscard]] lock::WorkReport serve(int listener, const Pages& pages,
                                     const HttpLimits& limits = {});

}  // namespace cachectl::daemon
