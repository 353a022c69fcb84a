#include "src/daemon/http.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <list>
#include <optional>
#include <vector>

#include "lock/number.hpp"
#include "lock/retry.hpp"
#include "src/key.hpp"

namespace cachectl::daemon {

namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;

/// What is read of a client that sends on though it has its answer.
constexpr std::size_t kMostDrained = 4U << 20;
/// The listener is nobody's hurry: refreshes and readers come before it.
constexpr int kNice = 10;

struct Request {
  bool head_only = false;
  std::string path;
};

/// What the head of a request asks for; else why it is refused.
tl::expected<Request, Answer> parse(std::string_view head) {
  http::request_parser<http::empty_body> parser;
  parser.eager(false);
  boost::beast::error_code error;
  parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if (error || !parser.is_header_done()) {
    return tl::unexpected(Answer{400, "text/plain", "bad request\n"});
  }
  const auto& message = parser.get();
  const bool is_head = message.method() == http::verb::head;
  if (!is_head && message.method() != http::verb::get) {
    return tl::unexpected(Answer{405, "text/plain", "only GET and HEAD\n"});
  }
  std::string_view target(message.target().data(), message.target().size());
  // In the form for proxies, which every server has to take (RFC 9112, 3.2.2).
  if (const auto authority = target.find("://"); authority < target.find('/')) {
    target.remove_prefix(std::min(target.find('/', authority + 3), target.size()));
    if (target.empty()) target = "/";
  }
  return Request{is_head, std::string(target.substr(0, target.find('?')))};
}

std::string_view reason_of(unsigned status) {
  const auto text = http::obsolete_reason(static_cast<http::status>(status));
  return {text.data(), text.size()};
}

std::string encode(const Answer& answer, bool head_only) {
  auto text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n"
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
      "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n{}\r\n",
      answer.status, reason_of(answer.status), answer.type, answer.body.size(),
      answer.status == 405 ? "Allow: GET, HEAD\r\n" : "");
  if (!head_only) text += answer.body;
  return text;
}

class Server {
 public:
  Server(int listener, const Pages& pages, const HttpLimits& limits)
      : listener_(listener), pages_(pages), limits_(limits) {}

  lock::WorkReport run() {
    while (true) {
      watched_.clear();
      watched_.push_back({listener_, POLLIN, 0});
      for (const auto& each : connections_) {
        const bool sends = each.state == State::answering;
        watched_.push_back({each.socket.get(), static_cast<short>(sends ? POLLOUT : POLLIN), 0});
      }
      if (::poll(watched_.data(), watched_.size(), patience()) < 0 && errno != EINTR) {
        return {1, system_error("wait for requests").describe()};
      }
      if ((watched_.front().revents & (POLLERR | POLLNVAL)) != 0) {
        return {1, "the listening socket is gone"};
      }
      go_on();
      if ((watched_.front().revents & POLLIN) != 0) accept();
    }
  }

 private:
  enum class State { reading, answering, draining };
  struct Connection {
    lock::Fd socket;
    Clock::time_point deadline;
    State state = State::reading;
    std::string text;      // what came, then what is to be sent
    std::size_t done = 0;  // of it: searched for the end of the head, or sent
    std::size_t drained = 0;
  };

  [[nodiscard]] int patience() const {
    if (connections_.empty()) return -1;
    // They all have the same time, but for those that were given more of it: few.
    const auto next = std::min_element(
        connections_.begin(), connections_.end(),
        [](const Connection& a, const Connection& b) { return a.deadline < b.deadline; });
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next->deadline - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
  }

  void accept() {
    // So many at a time that those who are connected get their turn.
    for (int count = 0; count < 16; ++count) {
      lock::Fd socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket.valid() && (errno == EMFILE || errno == ENFILE)) return make_room();
      if (!socket.valid()) return;
      if (connections_.size() >= limits_.connections) connections_.pop_front();
      connections_.push_back(
          {std::move(socket), Clock::now() + limits_.time, State::reading, {}, 0, 0});
    }
  }

  /// There are no more descriptors: the oldest gives up its own.
  void make_room() {
    if (!connections_.empty()) return connections_.pop_front();
    ::poll(nullptr, 0, 100);
  }

  void go_on() {
    const auto now = Clock::now();
    std::size_t index = 1;
    for (auto each = connections_.begin(); each != connections_.end(); ++index) {
      const bool awake = watched_[index].revents != 0;
      const bool stays = (!awake || advance(*each)) && (each->deadline > now || time_out(*each));
      each = stays ? std::next(each) : connections_.erase(each);
    }
  }

  /// False: it is over.
  bool advance(Connection& connection) {
    switch (connection.state) {
      case State::reading:
        return read(connection);
      case State::answering:
        return send(connection);
      case State::draining:
        break;
    }
    return drain(connection);
  }

  /// Who was too slow to ask is told so, once.
  bool time_out(Connection& connection) {
    if (connection.state != State::reading || connection.text.empty()) return false;
    connection.deadline = Clock::now() + std::chrono::seconds(1);
    return answer(connection, {408, "text/plain", "too slow\n"}, false);
  }

  bool read(Connection& connection) {
    std::array<char, 4096> block;
    const auto got = ::recv(connection.socket.get(), block.data(), block.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    auto& text = connection.text;
    text.append(block.data(), static_cast<std::size_t>(got));
    constexpr std::string_view kEnd = "\r\n\r\n";
    const auto end = text.find(kEnd, connection.done);
    if (end == std::string::npos ? text.size() > limits_.head : end + 4 > limits_.head) {
      return answer(connection, {431, "text/plain", "too much\n"}, false);
    }
    if (end == std::string::npos) {
      connection.done = text.size() < kEnd.size() ? 0 : text.size() - kEnd.size() + 1;
      return true;
    }
    const auto request = parse(std::string_view(text).substr(0, end + kEnd.size()));
    if (!request) return answer(connection, request.error(), false);
    return answer(connection, pages_(request->path), request->head_only);
  }

  bool answer(Connection& connection, const Answer& answer, bool head_only) {
    connection.text = encode(answer, head_only);
    connection.done = 0;
    connection.state = State::answering;
    return send(connection);
  }

  bool send(Connection& connection) {
    const auto left = std::string_view(connection.text).substr(connection.done);
    const auto sent = ::send(connection.socket.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    connection.done += static_cast<std::size_t>(sent);
    if (connection.done < connection.text.size()) return true;
    connection.state = State::draining;
    return ::shutdown(connection.socket.get(), SHUT_WR) == 0;
  }

  bool drain(Connection& connection) const {
    std::array<char, 16 * 1024> block;
    const auto got = ::recv(connection.socket.get(), block.data(), block.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    connection.drained += static_cast<std::size_t>(got);
    return got > 0 && connection.drained < kMostDrained;
  }

  int listener_;
  const Pages& pages_;
  HttpLimits limits_;
  std::list<Connection> connections_;  // the oldest first
  std::vector<pollfd> watched_;        // the listener, and each connection in its order
};

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

/// The size of the address; nullopt: the text is none.
std::optional<socklen_t> parse_address(std::string_view text, Address& address) {
  const auto colon = text.rfind(':');
  auto host = colon == std::string_view::npos ? "127.0.0.1" : std::string(text.substr(0, colon));
  const auto port_text = colon == std::string_view::npos ? text : text.substr(colon + 1);
  std::uint16_t port = 0;
  if (!parse_number(port_text, port)) return std::nullopt;
  address = {};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    if (::inet_pton(AF_INET6, host.c_str(), &address.v6.sin6_addr) != 1) return std::nullopt;
    return socklen_t{sizeof address.v6};
  }
  address.v4.sin_family = AF_INET;
  address.v4.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.v4.sin_addr) != 1) return std::nullopt;
  return socklen_t{sizeof address.v4};
}

}  // namespace

Result<lock::Fd> listen_on(const std::string& text) {
  Address address{};
  const auto size = parse_address(text, address);
  if (!size) {
    return fail(Errc::config, "daemon.listen: '" + escaped(text) + "' is no address with a port",
                "write 9100, 127.0.0.1:9100 or [::1]:9100, or off");
  }
  const auto what = "listen at " + escaped(text);
  lock::Fd socket(::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail(system_error(what));
  const int yes = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(socket.get(), &address.any, *size) != 0 || ::listen(socket.get(), 256) != 0) {
    return fail(system_error(what));
  }
  return socket;
}

std::string address_of(int listener) {
  Address address{};
  socklen_t size = sizeof address;
  if (::getsockname(listener, &address.any, &size) != 0) return "?";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.any.sa_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &address.v6.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(address.v6.sin6_port));
  }
  ::inet_ntop(AF_INET, &address.v4.sin_addr, text.data(), text.size());
  return fmt::format("{}:{}", text.data(), ntohs(address.v4.sin_port));
}

lock::WorkReport serve(int listener, const Pages& pages, const HttpLimits& limits) {
  ::setpriority(PRIO_PROCESS, 0, kNice);
  // Nothing is to be put right.
  ::signal(SIGTERM, [](int) { ::_exit(0); });
  return Server(listener, pages, limits).run();
}

}  // namespace cachectl::daemon
