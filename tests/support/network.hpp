// Network: hosts in network namespaces of their own, each with a cable to one server's namespace,
// and what goes wrong on such a cable.
//
//   server 10.77.N.1 -- veth -- 10.77.N.2 host N
//
// Faults are packet filters (nftables) in the server's namespace, and the link's state. Packets are
// lost by a draw for each: netem, which would delay them too, is no part of many kernels.
//
// Needs root, iproute2 and nftables. Everything is gone with the object. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lock/fd.hpp"

namespace cachectl::test {

class Network {
 public:
  /// Null: namespaces or filters may not be made here; `why` says so.
  [[nodiscard]] static std::unique_ptr<Network> make(std::size_t hosts, std::string& why);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Runs `work` in the namespace; what it starts (processes, threads, sockets) stays there.
  void on_server(const std::function<void()>& work) const { inside(server_, work); }
  void on_host(std::size_t index, const std::function<void()>& work) const {
    inside(hosts_.at(index), work);
  }
  /// Where a host reaches the server.
  [[nodiscard]] static std::string server_address(std::size_t host);

  /// Throws away all that a host sends to the server, and what the server sends to it.
  void drop_all(std::size_t host);
  /// Likewise, by pulling the cable.
  void unplug(std::size_t host);
  /// Throws away so many of 100 packets, either way.
  void lose(std::size_t host, int percent);
  /// Answers each packet of a TCP connection from the host with a reset.
  void reset(std::size_t host);
  /// Everything as it was.
  void repair(std::size_t host);

 private:
  Network() = default;
  static void inside(const lock::Fd& space, const std::function<void()>& work);
  /// A command in the server's namespace; throws when it fails.
  void command(const std::string& text) const;

  lock::Fd server_;
  std::vector<lock::Fd> hosts_;
};

}  // namespace cachectl::test
