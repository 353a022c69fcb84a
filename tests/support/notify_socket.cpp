#include "tests/support/notify_socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>

namespace cachectl::test {

NotifySocket::NotifySocket(std::string name)
    : name_(std::move(name)), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (name_.size() >= sizeof at.sun_path) throw std::runtime_error("name too long: " + name_);
  std::memcpy(at.sun_path, name_.data(), name_.size());
  const bool is_abstract = at.sun_path[0] == '@';
  if (is_abstract) at.sun_path[0] = '\0';
  const auto size = offsetof(sockaddr_un, sun_path) + name_.size() + (is_abstract ? 0 : 1);
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&at), static_cast<socklen_t>(size)) !=
      0) {
    throw std::runtime_error("cannot listen at " + name_);
  }
}

std::string NotifySocket::next(std::chrono::milliseconds patience) const {
  pollfd watched{socket_.get(), POLLIN, 0};
  if (::poll(&watched, 1, static_cast<int>(patience.count())) <= 0) return "(silence)";
  std::array<char, 4096> buffer{};
  const auto size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  return size < 0 ? "(failed)" : std::string(buffer.data(), static_cast<std::size_t>(size));
}

bool NotifySocket::hears(const std::string& text, std::chrono::milliseconds patience) const {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (next(left).starts_with(text)) return true;
  }
}

std::vector<std::string> NotifySocket::rest() const {
  std::vector<std::string> all;
  for (auto text = next(std::chrono::milliseconds(0)); text != "(silence)";
       text = next(std::chrono::milliseconds(0))) {
    all.push_back(std::move(text));
  }
  return all;
}

}  // namespace cachectl::test
