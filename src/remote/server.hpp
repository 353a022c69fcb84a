// Server: what a Redis server says of itself, and what of ours is in it; for people who look
// after it. No job asks for any of this.
//
// Each call asks one server over the connection that it is given, whatever the breaker says, and
// each of its exchanges ends in time as connection.hpp says. Errors are of the kinds in
// failure.hpp. What walks through all names (SCAN) keeps nobody else waiting, and takes a second
// for a million of them; names that come or go meanwhile may be missed.
//
// Thread rules: one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "src/clock.hpp"
#include "src/remote/connection.hpp"

namespace cachectl::remote {

/// How to reach each server that takes values now: the one that is named, the master that the
/// sentinels know, or those of a cluster. The first seed that answers tells.
[[nodiscard]] Result<std::vector<Options>> masters(const Options& options);

struct ServerFacts {
  std::string version;           ///< "7.0.15"
  std::string role;              ///< "master", "slave"
  std::uint64_t memory = 0;      ///< bytes in use
  std::uint64_t max_memory = 0;  ///< 0: unlimited
  std::string policy;            ///< "allkeys-lru": what goes when it is full

  /// Whether it is this version or a later one.
  [[nodiscard]] bool is_at_least(unsigned major, unsigned minor) const;
};

/// What INFO says.
[[nodiscard]] Result<ServerFacts> facts_of(Connection& server);

/// How long an answer takes, once it is connected.
[[nodiscard]] Result<std::chrono::nanoseconds> round_trip(Connection& server);

/// By how much its clock is ahead of ours. Off by half a round trip at most.
[[nodiscard]] Result<std::chrono::nanoseconds> clock_ahead(Connection& server, const Clock& clock);

/// What is kept under a prefix.
struct Holdings {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  ///< of records, with their chunks
};
[[nodiscard]] Result<Holdings> holdings(Connection& server, const std::string& prefix);

/// Removes all that is ours under a prefix, leases of the fleet too; returns how many records.
/// Names that we do not make stay.
[[nodiscard]] Result<std::uint64_t> flush(Connection& server, const std::string& prefix);

/// Which of the commands that the tier needs the server refuses to its user (NOPERM), as a list
/// of words; empty: none. Tries each on names of its own, which it removes.
[[nodiscard]] Result<std::string> refused_commands(Connection& server, const std::string& prefix);

}  // namespace cachectl::remote
