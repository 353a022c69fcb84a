// Options: which Redis server, who we are to it, and how long anything may take.
//
// A password is never part of a URL, as those end up in process lists, logs and shell
// histories; a URL that holds one is refused, with a message that does not show it.
//
// Thread-safe: no state.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lock/result.hpp"

namespace cachectl::remote {

/// Where the server listens.
struct Address {
  std::string path;  ///< of a Unix socket; empty: host and port
  std::string host;  ///< a name or an address, of IPv6 without its brackets
  std::uint16_t port = 6379;
  std::uint32_t database = 0;
  std::string user;  ///< empty: the server's default user

  /// For messages: "redis://host:6379", "unix:/path".
  [[nodiscard]] std::string describe() const;
  bool operator==(const Address&) const = default;
};

/// redis://[user@]host[:port][/database] or unix:/path[?db=N]. Errc::usage: it is neither,
/// or holds a password. Errc::unsupported: rediss://, as our client library knows no TLS.
[[nodiscard]] Result<Address> parse_url(std::string_view url);

/// "host:port" or "[address]:port"; `port` where there is none. Errc::usage.
[[nodiscard]] Result<Address> parse_host_and_port(std::string_view text, std::uint16_t port);

/// The first line of a file. Errc::refused where others than its owner may read it, or where
/// its owner is neither we nor root.
[[nodiscard]] Result<std::string> read_password(const std::string& file);

/// Which server has a key (route.hpp).
enum class Topology {
  single,    ///< the one that is named
  cluster,   ///< that of its slot, which the nodes of a Redis Cluster tell
  sentinel,  ///< the one that sentinels take for the master
};

struct Options {
  Topology topology = Topology::single;
  Address server;              ///< of cluster and sentinel: the user only
  std::vector<Address> seeds;  ///< of cluster and sentinel: who is asked first
  std::string master;          ///< what the sentinels call it
  std::string sentinel_password;
  std::string password;              ///< empty: none is asked for
  std::string prefix = "cachectl:";  ///< of all keys that we use
  std::size_t pool_size = 8;         ///< most connections of this process; at least 1
  std::size_t min_idle = 1;          ///< so many stay open though they are not used
  std::chrono::nanoseconds connect_timeout = std::chrono::milliseconds(200);
  /// Of one answer, and once more for each 4 MiB of it that have come.
  std::chrono::nanoseconds read_timeout = std::chrono::milliseconds(500);
  /// Of one request, likewise.
  std::chrono::nanoseconds write_timeout = std::chrono::milliseconds(500);
  std::uint64_t compress_above = 4096;  ///< bytes of a record; smaller ones are sent as they are
};

}  // namespace cachectl::remote
