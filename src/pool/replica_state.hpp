// What a slot's state file says of its replica.
//
//   cachectl replica 1
//   status=ready              empty, filling or ready
//   generation=1763737959123  that it is a copy of
//   way=reflink               how it was made: one of pool.copy
//   leased=no                 yes: somebody has it, or ended without giving it back
//   boot=0f3c…                of the machine; after another start nothing is known of it
//   since=1763737960000       of leased, in milliseconds since 1970
//   lease=3fa94c0312ab77de    or empty
//   owner=pid 812 (npm test)
//   why=…                     why it was not made in a way that would have been preferred
//
// Written in place, padded to its full size, under the lock of the slot: a process that is
// killed leaves the old text or the new one. Not synced, hence the boot. It is believed only
// by who holds the lock of the slot; to others it is a hint.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "lock/directory.hpp"
#include "src/choices.hpp"
#include "src/clock.hpp"
#include "src/store/record.hpp"

namespace cachectl::pool {

enum class Status { empty, filling, ready };

[[nodiscard]] std::string_view name_of(Way way);
[[nodiscard]] std::optional<Way> parse_way(std::string_view text);

struct ReplicaState {
  Status status = Status::empty;
  store::Generation generation = 0;
  Way way = Way::copy;
  bool leased = false;
  std::string boot;
  WallTime since{};
  std::string lease;
  std::string owner;
  std::string why;

  static constexpr std::size_t kSize = 2048;

  [[nodiscard]] std::string encode() const;
  [[nodiscard]] static std::optional<ReplicaState> decode(std::string_view text);
};

/// Of the slot in `directory`; nullopt: there is none that can be read.
[[nodiscard]] Result<std::optional<ReplicaState>> read_state(const lock::Directory& directory);
[[nodiscard]] Result<void> write_state(const lock::Directory& directory, const ReplicaState& state,
                                       mode_t mode);

/// Identifies this start of the machine; empty where that is not known.
[[nodiscard]] std::string boot_id();

}  // namespace cachectl::pool
