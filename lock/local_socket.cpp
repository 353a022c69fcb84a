#include "lock/local_socket.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

constexpr int kType = SOCK_SEQPACKET | SOCK_CLOEXEC;
constexpr int kBacklog = 128;

/// An address has room for 108 bytes and a root may lie deeper: by way of a descriptor
/// any place is short.
sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

std::string by_descriptor(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

/// What is left until the deadline, for poll(2), rounded up.
int milliseconds_until(const Deadline& deadline) {
  if (deadline.is_never()) return -1;
  if (deadline.is_immediate()) return 0;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline.at() - Deadline::Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

}  // namespace

Result<std::pair<Fd, Fd>> socket_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, kType, 0, ends.data()) != 0) return fail(system_error("socketpair"));
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

Result<Fd> listen_at(const Directory& directory, const std::string& name) {
  const auto path = directory.path_of(name);
  Fd socket(::socket(AF_UNIX, kType | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail(system_error("socket"));
  // The name gets the mode of the socket, less the umask.
  if (::fchmod(socket.get(), 0600) != 0) return fail(system_error("chmod " + path));
  const auto place = by_descriptor(directory.descriptor()) + "/" + name;
  const auto address = address_of(place);
  if (::bind(socket.get(), generic(address), sizeof address) != 0) {
    return fail(system_error("bind " + path));
  }
  if (::chmod(place.c_str(), 0600) != 0 || ::listen(socket.get(), kBacklog) != 0) {
    auto failure = system_error("listen at " + path);
    [[maybe_unused]] const auto removed = directory.unlink(name);
    return fail(std::move(failure));
  }
  return socket;
}

Result<std::optional<Fd>> connect_to(const Directory& directory, const std::string& name,
                                     const Deadline& deadline) {
  // connect(2) follows links; an O_PATH descriptor is of the name itself.
  CACHECTL_ASSIGN(const auto node, directory.open_if_exists(name, O_PATH));
  if (!node) return std::optional<Fd>();
  const auto path = directory.path_of(name);
  CACHECTL_ASSIGN(const struct stat status, status_of(node->get(), path));
  if (!S_ISSOCK(status.st_mode)) return fail(Errc::refused, path + ": is not a socket; refused");
  Fd socket(::socket(AF_UNIX, kType, 0));
  if (!socket.valid()) return fail(system_error("socket"));
  // Where many wait to be accepted connect(2) would wait without end.
  const int left = milliseconds_until(deadline);
  const timeval longest{std::max(left, 1) / 1000, std::max(left, 1) % 1000 * 1000};
  if (left >= 0) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
  }
  const auto address = address_of(by_descriptor(node->get()));
  const int connected =
      retry([&] { return ::connect(socket.get(), generic(address), sizeof address); });
  if (connected == 0) return std::optional<Fd>(std::move(socket));
  if (errno == ECONNREFUSED || errno == ENOENT) return std::optional<Fd>();
  auto failure = system_error("connect to " + path);
  if (failure.system_error == EAGAIN) failure.code = Errc::timeout;
  return fail(std::move(failure));
}

bool send_message(int socket, std::string_view text, std::span<const int> descriptors) {
  iovec content{const_cast<char*>(text.data()), text.size()};
  msghdr header{};
  header.msg_iov = &content;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(Message::kMostDescriptors * sizeof(int))> control{};
  if (!descriptors.empty()) {
    if (descriptors.size() > Message::kMostDescriptors) return false;
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  return retry([&] { return ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT); }) >= 0;
}

Result<std::optional<Message>> receive_message(int socket, const Deadline& deadline) {
  pollfd watched{socket, POLLIN, 0};
  while (true) {
    const int ready = ::poll(&watched, 1, milliseconds_until(deadline));
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) return fail(system_error("poll"));
    if (deadline.passed()) return fail(Errc::timeout, "no answer");
  }
  Message message;
  message.text.resize(Message::kLongest);
  iovec content{message.text.data(), message.text.size()};
  msghdr header{};
  header.msg_iov = &content;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(Message::kMostDescriptors * sizeof(int))> control{};
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const auto got = retry([&] { return ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC); });
  if (got == 0 || (got < 0 && errno == ECONNRESET)) return std::optional<Message>();
  if (got < 0) return fail(system_error("receive"));
  message.text.resize(static_cast<std::size_t>(got));
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t index = 0; index < count; ++index) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(part) + index * sizeof(int), sizeof descriptor);
      message.descriptors.emplace_back(descriptor);
    }
  }
  return std::optional<Message>(std::move(message));
}

bool is_peer_trusted(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

}  // namespace cachectl::lock
