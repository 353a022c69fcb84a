#include "tests/remote/cluster_servers.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "src/remote/cluster.hpp"
#include "tests/support/link.hpp"

namespace cachectl::test {

namespace {

/// Where the slots of a master begin, at first.
std::size_t first_slot(std::size_t master) {
  return master * remote::kSlots / RedisCluster::kMasters;
}

void say_ok(const RedisServer& server, const std::vector<std::string>& command) {
  const auto answer = server.say(command);
  if (answer != "OK") throw std::runtime_error(command.at(0) + ' ' + command.at(1) + ": " + answer);
}

void wait_for(const char* what, const std::function<bool()>& is_so) {
  if (!wait_until(is_so)) throw std::runtime_error(std::string("it does not come: ") + what);
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

remote::Address local_address(int port) {
  remote::Address address;
  address.host = "127.0.0.1";
  address.port = static_cast<std::uint16_t>(port);
  return address;
}

}  // namespace

int free_port() {
  const lock::Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  auto* const generic = static_cast<sockaddr*>(static_cast<void*>(&address));
  socklen_t size = sizeof address;
  if (::bind(probe.get(), generic, size) != 0 || ::getsockname(probe.get(), generic, &size) != 0) {
    throw std::runtime_error("there is no free port");
  }
  return ::ntohs(address.sin_port);
}

RedisCluster::RedisCluster(std::size_t replicas) {
  const auto count = kMasters * (1 + replicas);
  for (std::size_t i = 0; i < count; ++i) {
    ports_.push_back(free_port());
    const auto bus = std::to_string(free_port());
    nodes_.push_back(std::make_unique<RedisServer>(std::vector<std::string>{
        "--bind", "127.0.0.1", "--port", std::to_string(ports_[i]), "--cluster-port", bus,
        "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
        "--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0",
        "--enable-debug-command", "yes"}));
    ids_.push_back(node(i).say({"CLUSTER", "MYID"}));
    say_ok(node(i), {"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)});
    if (i < kMasters) {
      say_ok(node(i), {"CLUSTER", "ADDSLOTSRANGE", std::to_string(first_slot(i)),
                       std::to_string(first_slot(i + 1) - 1)});
    }
    if (i > 0) {
      const auto bus_of_first = node(0).ask_list({"CONFIG", "GET", "cluster-port"}).at(1);
      say_ok(node(i), {"CLUSTER", "MEET", "127.0.0.1", std::to_string(ports_[0]), bus_of_first});
    }
  }
  const auto all_know = [&](const std::string& line) {
    for (const auto& one : nodes_) {
      if (!holds(one->say({"CLUSTER", "INFO"}), line)) return false;
    }
    return true;
  };
  wait_for("all know all", [&] {
    return all_know("cluster_known_nodes:" + std::to_string(count)) &&
           all_know("cluster_slots_ok:16384");
  });
  for (std::size_t i = kMasters; i < count; ++i) {
    wait_for("a replica", [&] {
      return node(i).say({"CLUSTER", "REPLICATE", ids_[i % kMasters]}) == "OK";
    });
  }
  for (std::size_t i = kMasters; i < count; ++i) {
    wait_for("its link", [&] {
      return holds(node(i).say({"INFO", "replication"}), "master_link_status:up");
    });
    wait_for("that all know it", [&] {
      for (const auto& one : nodes_) {
        const auto known = one->ask_list({"CLUSTER", "REPLICAS", ids_[i % kMasters]});
        if (known.size() != replicas) return false;
      }
      return true;
    });
  }
  wait_for("the cluster", [&] { return all_know("cluster_state:ok"); });
}

remote::Options RedisCluster::options(std::size_t seeds) const {
  remote::Options options;
  options.topology = remote::Topology::cluster;
  for (std::size_t i = 0; i < seeds; ++i) options.seeds.push_back(local_address(ports_[i]));
  return options;
}

std::size_t RedisCluster::home_of(const Key& key) {
  const auto slot = remote::slot_of(name_of(key));
  std::size_t home = 0;
  while (slot >= first_slot(home + 1)) ++home;
  return home;
}

Key RedisCluster::key_at(std::size_t home) {
  while (true) {
    auto key = key_of("key-" + std::to_string(next_key_++));
    if (home_of(key) == home) return key;
  }
}

void RedisCluster::move_slot(std::size_t slot, std::size_t from, std::size_t to,
                             const std::function<void()>& while_open) {
  const auto number = std::to_string(slot);
  say_ok(node(to), {"CLUSTER", "SETSLOT", number, "IMPORTING", id(from)});
  say_ok(node(from), {"CLUSTER", "SETSLOT", number, "MIGRATING", id(to)});
  if (while_open) while_open();
  while (true) {
    const auto names = node(from).ask_list({"CLUSTER", "GETKEYSINSLOT", number, "10"});
    if (names.empty()) break;
    std::vector<std::string> command{"MIGRATE", "127.0.0.1", std::to_string(port(to)), "", "0",
                                     "5000",    "KEYS"};
    command.insert(command.end(), names.begin(), names.end());
    const auto answer = node(from).say(command);
    if (answer != "OK" && answer != "NOKEY") throw std::runtime_error("MIGRATE: " + answer);
  }
  say_ok(node(to), {"CLUSTER", "SETSLOT", number, "NODE", id(to)});
  say_ok(node(from), {"CLUSTER", "SETSLOT", number, "NODE", id(to)});
}

RedisSentinels::RedisSentinels() {
  const auto server = [](int port, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"--bind", "127.0.0.1", "--port", std::to_string(port)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return std::make_unique<RedisServer>(arguments);
  };
  first_ = server(first_port_);
  second_ = server(second_port_, {"--replicaof", "127.0.0.1 " + std::to_string(first_port_)});
  wait_for("the replica", [&] {
    return holds(second_->say({"INFO", "replication"}), "master_link_status:up");
  });
  for (int i = 0; i < 3; ++i) {
    sentinel_ports_.push_back(free_port());
    const auto file = files_.file("sentinel" + std::to_string(i));
    write_file(file, "sentinel monitor mymaster 127.0.0.1 " + std::to_string(first_port_) +
                         " 2\nsentinel down-after-milliseconds mymaster 300\n"
                         "sentinel failover-timeout mymaster 3000\n");
    sentinels_.push_back(std::make_unique<RedisServer>(
        std::vector<std::string>{"--bind", "127.0.0.1", "--port",
                                 std::to_string(sentinel_ports_.back())},
        file));
  }
  for (const auto& one : sentinels_) {
    wait_for("that sentinels know the others and the replica", [&] {
      return one->ask_list({"SENTINEL", "REPLICAS", "mymaster"}).size() == 1 &&
             one->ask_list({"SENTINEL", "SENTINELS", "mymaster"}).size() == 2;
    });
  }
}

bool RedisSentinels::all_name_second() const {
  return std::all_of(sentinels_.begin(), sentinels_.end(), [&](const auto& sentinel) {
    return sentinel->ask_list({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"}).at(1) ==
           std::to_string(second_port_);
  });
}

remote::Options RedisSentinels::options() const {
  remote::Options options;
  options.topology = remote::Topology::sentinel;
  options.master = "mymaster";
  for (const auto port : sentinel_ports_) options.seeds.push_back(local_address(port));
  return options;
}

}  // namespace cachectl::test
