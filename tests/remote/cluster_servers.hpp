// Servers of Redis that work together, on ports of this machine: a cluster, or a master with
// replicas and sentinels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/remote/fixture.hpp"

namespace cachectl::test {

/// A port of 127.0.0.1 that was free just now.
[[nodiscard]] int free_port();

/// Three masters, and for each as many replicas as are asked for. A master that has not been heard
/// of for a second is taken for dead.
class RedisCluster {
 public:
  static constexpr std::size_t kMasters = 3;
  explicit RedisCluster(std::size_t replicas = 0);

  /// With the first `seeds` masters.
  [[nodiscard]] remote::Options options(std::size_t seeds = kMasters) const;
  /// Masters first; the replicas of master n are n + 3, n + 6, ...
  [[nodiscard]] RedisServer& node(std::size_t index) { return *nodes_.at(index); }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  /// Which of the first three had the slot of a key when all began.
  [[nodiscard]] static std::size_t home_of(const Key& key);
  /// A key that has not been used, with its home there.
  [[nodiscard]] Key key_at(std::size_t home);
  [[nodiscard]] const std::string& id(std::size_t index) const { return ids_.at(index); }
  [[nodiscard]] int port(std::size_t index) const { return ports_.at(index); }

  /// Moves a slot with all that is in it, as redis-cli --cluster reshard does. `while_open` is
  /// called when both servers know of the move and nothing has moved yet.
  void move_slot(std::size_t slot, std::size_t from, std::size_t to,
                 const std::function<void()>& while_open = {});

 private:
  std::vector<int> ports_;
  std::vector<std::unique_ptr<RedisServer>> nodes_;
  std::vector<std::string> ids_;
  int next_key_ = 0;
};

/// A master, a replica of it, and three sentinels of which two agree that it is dead when it has
/// not answered for 300 ms.
class RedisSentinels {
 public:
  RedisSentinels();

  [[nodiscard]] remote::Options options() const;
  /// The master at first.
  [[nodiscard]] RedisServer& first() { return *first_; }
  [[nodiscard]] RedisServer& second() { return *second_; }
  [[nodiscard]] RedisServer& sentinel(std::size_t index) { return *sentinels_.at(index); }
  /// Whether all sentinels take the second for the master.
  [[nodiscard]] bool all_name_second() const;
  [[nodiscard]] int port_of_second() const { return second_port_; }

 private:
  int first_port_ = free_port();
  int second_port_ = free_port();
  std::unique_ptr<RedisServer> first_;
  std::unique_ptr<RedisServer> second_;
  TempDirectory files_;
  std::vector<int> sentinel_ports_;
  std::vector<std::unique_ptr<RedisServer>> sentinels_;
};

}  // namespace cachectl::test
