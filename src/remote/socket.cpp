#include "src/remote/socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "lock/child.hpp"

namespace cachectl::remote {

namespace {

/// An address as the system takes it.
struct Endpoint {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] const sockaddr* get() const {
    return static_cast<const sockaddr*>(static_cast<const void*>(&storage));
  }
};

template <typename Specific>
Endpoint endpoint_of(const Specific& specific, std::size_t size = sizeof(Specific)) {
  static_assert(sizeof(Specific) <= sizeof(sockaddr_storage));
  Endpoint endpoint;
  std::memcpy(&endpoint.storage, &specific, sizeof specific);
  endpoint.size = static_cast<socklen_t>(size);
  return endpoint;
}

tl::unexpected<Error> unreachable(const Address& address, const std::string& why) {
  return fail(Errc::unreachable, "connect to " + address.describe() + ": " + why,
              "check redis.url, and that the server runs");
}

tl::unexpected<Error> too_late(const Address& address) {
  return fail(Errc::unreachable, "connect to " + address.describe() + ": no answer in time",
              "check redis.url and the network, or raise redis.connect-timeout");
}

/// False: `text` is no address.
bool add_numeric(std::vector<Endpoint>& endpoints, const std::string& text, std::uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    endpoints.push_back(endpoint_of(v4));
    return true;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) != 1) return false;
  endpoints.push_back(endpoint_of(v6));
  return true;
}

/// What the child prints until it ends; killed at the deadline.
Result<std::string> output_until(const std::vector<std::string>& argv,
                                 const lock::Deadline& deadline) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error("make a pipe"));
  const lock::Fd from(ends[0]);
  lock::Fd into(ends[1]);
  lock::Command command;
  command.argv = argv;
  command.null_input = true;
  command.output = into.get();
  command.error = into.get();
  command.die_with_parent = true;
  CACHECTL_ASSIGN(const auto child, lock::Child::spawn(command, nullptr));
  into.reset();
  std::string output;
  std::array<std::byte, 4096> block{};
  constexpr std::size_t kMost = 64 * 1024;
  while (output.size() < kMost) {
    CACHECTL_ASSIGN(const bool ready, wait_for_socket(from.get(), POLLIN, deadline));
    if (!ready) return fail(Errc::timeout, "not found in time");
    CACHECTL_ASSIGN(const auto got, lock::read_some(from.get(), block, argv[0]));
    if (got == 0) break;
    output.append(reinterpret_cast<const char*>(block.data()), got);
  }
  return output;
}

/// The first word of each line of `getent ahosts`, which has one for each kind of socket.
Result<std::vector<Endpoint>> look_up(const Address& address, const lock::Deadline& deadline) {
  const auto output = output_until({"getent", "ahosts", address.host}, deadline);
  if (!output && output.error().code == Errc::timeout) return too_late(address);
  if (!output) return unreachable(address, "look up its name: " + output.error().message);
  std::vector<Endpoint> endpoints;
  std::string last;
  for (std::size_t start = 0; start < output->size();) {
    const auto end = std::min(output->find('\n', start), output->size());
    const auto line = output->substr(start, end - start);
    start = end + 1;
    auto word = line.substr(0, line.find(' '));
    if (word == last) continue;
    add_numeric(endpoints, word, address.port);
    last = std::move(word);
  }
  if (endpoints.empty()) return unreachable(address, "no such host is known");
  return endpoints;
}

Result<std::vector<Endpoint>> endpoints_of(const Address& address, const lock::Deadline& deadline) {
  std::vector<Endpoint> endpoints;
  if (!address.path.empty()) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    if (address.path.size() >= sizeof local.sun_path) {
      return unreachable(address, "the path of a socket is at most 107 bytes long");
    }
    std::memcpy(local.sun_path, address.path.data(), address.path.size());
    endpoints.push_back(endpoint_of(local));
  } else if (address.host == "localhost") {
    add_numeric(endpoints, "127.0.0.1", address.port);
    add_numeric(endpoints, "::1", address.port);
  } else if (!add_numeric(endpoints, address.host, address.port)) {
    return look_up(address, deadline);
  }
  return endpoints;
}

/// 0, or the errno that says why not; ETIMEDOUT at the deadline.
int connect_within(int socket, const Endpoint& endpoint, const lock::Deadline& deadline) {
  if (::connect(socket, endpoint.get(), endpoint.size) == 0) return 0;
  // A Unix socket whose queue is full says EAGAIN, and cannot be polled for room.
  if (errno != EINPROGRESS) return errno;
  const auto ready = wait_for_socket(socket, POLLOUT, deadline);
  if (!ready) return ready.error().system_error;
  if (!*ready) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

/// The part of the time that is left for the first of `count`.
lock::Deadline share_of(const lock::Deadline& deadline, std::size_t count) {
  if (deadline.is_never() || count <= 1) return deadline;
  const auto left = deadline.at() - lock::Deadline::Clock::now();
  return lock::Deadline::after(left / static_cast<long>(count));
}

}  // namespace

Result<bool> wait_for_socket(int socket, short events, const lock::Deadline& deadline) {
  pollfd waited{socket, events, 0};
  return wait_for_any(std::span(&waited, 1), deadline);
}

Result<bool> wait_for_any(std::span<pollfd> waited, const lock::Deadline& deadline) {
  using Clock = lock::Deadline::Clock;
  lock::ObservedWait wait(deadline);
  while (true) {
    wait.goes_on();
    const auto until = wait.wake_up();
    timespec pause{};
    timespec* limit = nullptr;
    if (until) {
      // The difference to one that has always passed has no number.
      const auto left = deadline.passed()
                            ? Clock::duration::zero()
                            : std::max(*until - Clock::now(), Clock::duration::zero());
      const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
      pause = {seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
      limit = &pause;
    }
    const int ready = ::ppoll(waited.data(), waited.size(), limit, nullptr);
    if (ready > 0) return true;
    if (ready == 0 && deadline.passed()) return false;
    if (ready < 0 && errno != EINTR) return fail(system_error("poll"));
  }
}

Result<lock::Fd> connect_to_server(const Address& address, const lock::Deadline& deadline) {
  CACHECTL_ASSIGN(const auto endpoints, endpoints_of(address, deadline));
  int error = 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const auto family = endpoints[i].storage.ss_family;
    lock::Fd socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) {
      error = errno;
      continue;
    }
    const int failed =
        connect_within(socket.get(), endpoints[i], share_of(deadline, endpoints.size() - i));
    if (failed == 0) {
      const int on = 1;
      // A batch goes out in one write; the last part of it must not wait for an answer. Fails
      // on a Unix socket, which does not need it.
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return socket;
    }
    // Of "localhost", what its first address says matters more than that there is no IPv6.
    if (error == 0 || failed == ETIMEDOUT) error = failed;
  }
  if (error == ETIMEDOUT) return too_late(address);
  auto why = system_error("", error).message;
  return unreachable(address, why.substr(std::min<std::size_t>(2, why.size())));
}

}  // namespace cachectl::remote
