// Local sockets: messages, and open descriptors, between processes that see one directory.
//
// The address is a name in a directory and not one of the abstract kind, so that it works
// across network namespaces and is guarded by the modes of the directory. Messages keep
// their borders (SOCK_SEQPACKET). Descriptors arrive O_CLOEXEC.
//
// Thread rules: a socket belongs to one thread at a time.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lock/deadline.hpp"
#include "lock/directory.hpp"
#include "lock/fd.hpp"

namespace cachectl::lock {

struct Message {
  std::string text;
  std::vector<Fd> descriptors;

  static constexpr std::size_t kLongest = 4096;
  static constexpr std::size_t kMostDescriptors = 64;
};

/// Two connected ends.
[[nodiscard]] Result<std::pair<Fd, Fd>> socket_pair();

/// Listens at `name` in the directory, mode 0600. Accepting does not block.
[[nodiscard]] Result<Fd> listen_at(const Directory& directory, const std::string& name);

/// nullopt: nobody listens there. Errc::timeout after the deadline.
[[nodiscard]] Result<std::optional<Fd>> connect_to(const Directory& directory,
                                                   const std::string& name,
                                                   const Deadline& deadline);

/// Sends without waiting; false: the other end is gone, or has not read for too long.
[[nodiscard]] bool send_message(int socket, std::string_view text,
                                std::span<const int> descriptors = {});

/// nullopt: the other end is gone. Errc::timeout after the deadline.
[[nodiscard]] Result<std::optional<Message>> receive_message(int socket, const Deadline& deadline);

/// Whether the process at the other end belongs to our user or to root.
[[nodiscard]] bool is_peer_trusted(int socket);

}  // namespace cachectl::lock
