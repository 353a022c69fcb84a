#include "tests/support/network.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace cachectl::test {

namespace {

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

lock::Fd this_namespace() { return lock::Fd(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC)); }

bool has_run(const std::string& command) {
  // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): of constants and numbers
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

std::string subnet(std::size_t host) { return "10.77." + std::to_string(host) + '.'; }
std::string cable(std::size_t host) { return "host" + std::to_string(host); }

}  // namespace

void Network::inside(const lock::Fd& space, const std::function<void()>& work) {
  const auto outside = this_namespace();
  if (::setns(space.get(), CLONE_NEWNET) != 0) throw std::runtime_error("setns");
  const struct Back {
    int descriptor;
    ~Back() {
      // What goes on elsewhere would be a wrong test.
      if (::setns(descriptor, CLONE_NEWNET) != 0) std::abort();
    }
  } back{outside.get()};
  work();
}

std::string Network::server_address(std::size_t host) { return subnet(host) + '1'; }

std::unique_ptr<Network> Network::make(std::size_t hosts, std::string& why) {
  const auto outside = this_namespace();
  std::unique_ptr<Network> made(new Network);
  const auto own_namespace = [&]() -> lock::Fd {
    if (::unshare(CLONE_NEWNET) != 0) return lock::Fd();
    auto own = this_namespace();
    if (!has_run("ip link set lo up")) own.reset();
    if (::setns(outside.get(), CLONE_NEWNET) != 0) std::abort();
    return own;
  };
  made->server_ = own_namespace();
  if (!made->server_.valid()) {
    why = "no network namespace can be made (it needs root and iproute2)";
    return nullptr;
  }
  for (std::size_t host = 0; host < hosts; ++host) {
    auto own = own_namespace();
    bool is_wired = own.valid();
    const auto path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(own.get());
    inside(made->server_, [&] {
      is_wired =
          is_wired &&
          has_run("ip link add " + cable(host) + " type veth peer name net0 netns " + path) &&
          has_run("ip addr add " + subnet(host) + "1/24 dev " + cable(host)) &&
          has_run("ip link set " + cable(host) + " up");
    });
    if (is_wired) {
      inside(own, [&] {
        is_wired = has_run("ip addr add " + subnet(host) + "2/24 dev net0") &&
                   has_run("ip link set net0 up");
      });
    }
    if (!is_wired) {
      why = "two network namespaces cannot be wired (veth)";
      return nullptr;
    }
    made->hosts_.push_back(std::move(own));
  }
  bool can_filter = false;
  inside(made->server_, [&] {
    can_filter = has_run("nft add table inet probe") &&
                 has_run("nft add chain inet probe in '{ type filter hook input priority 0; }'") &&
                 has_run("nft add rule inet probe in numgen random mod 100 '<' 1 drop") &&
                 has_run("nft delete table inet probe");
  });
  if (can_filter) return made;
  why = "packets cannot be filtered (nftables)";
  return nullptr;
}

Network::~Network() = default;

void Network::command(const std::string& text) const {
  on_server([&] {
    if (!has_run(text)) throw std::runtime_error(text);
  });
}

void Network::drop_all(std::size_t host) { lose(host, 100); }

void Network::unplug(std::size_t host) { command("ip link set " + cable(host) + " down"); }

void Network::lose(std::size_t host, int percent) {
  repair(host);
  const auto name = cable(host);
  const auto chance = percent >= 100
                          ? std::string(" drop")
                          : " numgen random mod 100 '<' " + std::to_string(percent) + " drop";
  command("nft add table inet " + name);
  command("nft add chain inet " + name + " in '{ type filter hook input priority 0; }'");
  command("nft add chain inet " + name + " out '{ type filter hook output priority 0; }'");
  command("nft add rule inet " + name + " in iifname " + name + chance);
  command("nft add rule inet " + name + " out oifname " + name + chance);
}

void Network::reset(std::size_t host) {
  repair(host);
  const auto name = cable(host);
  command("nft add table inet " + name);
  command("nft add chain inet " + name + " in '{ type filter hook input priority 0; }'");
  command("nft add rule inet " + name + " in iifname " + name +
          " meta l4proto tcp reject with tcp reset");
}

void Network::repair(std::size_t host) {
  on_server([&] { has_run("nft delete table inet " + cable(host)); });
  command("ip link set " + cable(host) + " up");
}

}  // namespace cachectl::test
