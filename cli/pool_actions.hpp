// The actions of `cachectl pool`, and what they share.
#pragma once

#include <string>
#include <vector>

#include "cli/exit_status.hpp"
#include "cli/owner_option.hpp"
#include "cli/session.hpp"

namespace cachectl::cli {

/// What was given. pool.cpp sees to it that an action has nothing that is not for it.
struct PoolArguments {
  std::string action;
  std::string name;  ///< the key; for checkin the path of a replica
  std::string number;
  OwnerOption owner;
  bool publish = false;
  bool json = false;
  std::vector<std::string> command;
};

[[nodiscard]] Result<int> pool_exec(Session& session, const PoolArguments& arguments);
[[nodiscard]] Result<int> pool_checkout(Session& session, const PoolArguments& arguments);
[[nodiscard]] Result<int> pool_checkin(Session& session, const PoolArguments& arguments);
[[nodiscard]] Result<int> pool_list(Session& session, const PoolArguments& arguments);
[[nodiscard]] Result<int> pool_resize(Session& session, const PoolArguments& arguments);
[[nodiscard]] Result<int> pool_reset(Session& session, const PoolArguments& arguments);
[[nodiscard]] Result<int> pool_drain(Session& session, const PoolArguments& arguments);

/// The key that was named.
[[nodiscard]] Result<Key> pool_key(const PoolArguments& arguments);

/// Errc::config: its value is no file or directory, and no source could make one.
[[nodiscard]] Result<void> can_have_pool(Session& session, const Cache& cache, const Key& key);

/// Its value has, and has no source.
[[nodiscard]] Error expired(const Key& key);

/// What the configuration says of the pool of a key.
[[nodiscard]] Result<pool::Options> pool_options(Session& session, const Key& key);

/// The same without the overlay, which is no copy.
[[nodiscard]] std::vector<Way> copying(std::vector<Way> ways);

/// None of the ways that pool.copy allows works, and why not each of them.
[[nodiscard]] Error no_way(const Key& key, const std::string& why);

/// Whether the command that runs us has this replica: $CACHECTL_REPLICA.
[[nodiscard]] bool runs_with(const pool::SlotInfo& slot);

/// "pid 812 (npm test)": who has a replica, for people.
[[nodiscard]] std::string owner_text(pid_t pid, const std::string& command);

/// "replica 1 by pid 812 (npm test); replica 2 by ...": who has one now.
[[nodiscard]] std::string holders(const pool::Pool& pool);

}  // namespace cachectl::cli
