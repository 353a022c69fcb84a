// What the nodes of a Redis Cluster and sentinels say about which server has what.
//
// A cluster has 16384 slots; a name of ours lies in that of the CRC16 of its hash tag, which is
// what stands in its first braces. All names of a key have the same one (frame.hpp).
//
// Thread-safe: no state; a connection is of one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "lock/result.hpp"
#include "src/remote/connection.hpp"

namespace cachectl::remote {

using Slot = std::uint16_t;
inline constexpr std::size_t kSlots = 16384;

[[nodiscard]] Slot slot_of(std::string_view name);

struct SlotRange {
  Slot first;
  Slot last;
  Address master;
};

/// The answer of `who` to CLUSTER SLOTS. A server that does not know its own address is where it
/// was reached; its user goes for all. Errc::unreachable: it is none, or names no server.
[[nodiscard]] Result<std::vector<SlotRange>> slot_ranges(const Reply& reply, const Address& who);

/// An error reply that stands for "ask elsewhere", or again.
struct Redirection {
  enum class Kind {
    moved,      ///< the slot is at `to`
    ask,        ///< the slot moves to `to`, and this name may be there already
    again,      ///< the slot moves, and the names of one command are in two places
    read_only,  ///< a replica: somebody else is the master
  };
  Kind kind = Kind::again;
  Slot slot = 0;
  Address to;
};
[[nodiscard]] std::optional<Redirection> redirection_in(const Reply& reply, const Address& who);

/// The answer of a sentinel to SENTINEL get-master-addr-by-name. Errc::remote_refused: it does
/// not know the name.
[[nodiscard]] Result<Address> master_in(const Reply& reply, const Address& sentinel,
                                        std::string_view name);

/// How to reach one of the seeds of `options`, a node of the cluster or a sentinel.
[[nodiscard]] Options seed_options(const Options& options, const Address& seed);

/// Asks a seed who leads. An error reply is an error.
[[nodiscard]] Result<std::unique_ptr<Reply>> ask_for_masters(Connection& seed,
                                                             const Options& options);
/// The masters in its answer, with the user to log in as; by sentinels one, which has all.
[[nodiscard]] Result<std::vector<SlotRange>> masters_in(const Reply& reply, const Address& seed,
                                                        const Options& options);

}  // namespace cachectl::remote
