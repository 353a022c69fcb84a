#include "tests/support/link.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <thread>

namespace cachectl::test {

namespace {
using Clock = std::chrono::steady_clock;
}

std::pair<Link, Link> Link::make() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("socketpair");
  }
  return {Link(lock::Fd(ends[0])), Link(lock::Fd(ends[1]))};
}

bool Link::say(std::string_view message) const {
  const auto sent = ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(message.size());
}

std::string Link::hear(std::chrono::milliseconds patience) const {
  const auto end = Clock::now() + patience;
  do {
    pollfd watched{socket_.get(), POLLIN, 0};
    if (::poll(&watched, 1, patience.count() > 0 ? 10 : 0) <= 0) continue;
    std::array<char, 8192> buffer{};
    const auto got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) return {buffer.data(), static_cast<std::size_t>(got)};
    if (got == 0 || errno != EINTR) return "(gone)";
  } while (Clock::now() < end);
  return "(silence)";
}

bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  while (!condition()) {
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

bool wait_until_steady(const std::function<bool()>& condition) {
  int seen = 0;
  return wait_until([&] { return (seen = condition() ? seen + 1 : 0) == 10; });
}

}  // namespace cachectl::test
