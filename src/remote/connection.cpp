#include "src/remote/connection.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "src/remote/failure.hpp"
#include "src/remote/socket.hpp"

namespace cachectl::remote {

namespace {

using SteadyClock = lock::Deadline::Clock;

constexpr std::size_t kPerTimeout = std::size_t{4} << 20U;

}  // namespace

/// How long one direction of an exchange may go on.
class Connection::Timer {
 public:
  explicit Timer(std::chrono::nanoseconds timeout, const Patience& patience = {})
      : timeout_(timeout), observer_(patience.observer), end_(ending(timeout + patience.more)) {}

  void moved(std::size_t bytes) {
    moved_ += bytes;
    for (; moved_ >= kPerTimeout; moved_ -= kPerTimeout) put_off(timeout_);
  }
  /// Time that the other end is not to blame for.
  void put_off(std::chrono::nanoseconds time) {
    if (!end_.is_never()) {
      end_ = ending(end_.at() - SteadyClock::now() + time);
    }
  }
  [[nodiscard]] const lock::Deadline& end() const { return end_; }

 private:
  [[nodiscard]] lock::Deadline ending(std::chrono::nanoseconds duration) const {
    const auto end = lock::Deadline::after(duration);
    return observer_ == nullptr ? end : end.observed_by(*observer_);
  }

  std::chrono::nanoseconds timeout_;
  lock::WaitObserver* observer_;
  lock::Deadline end_;
  std::size_t moved_ = 0;
};

tl::unexpected<Error> Connection::lost(const std::string& why, std::string advice) const {
  return fail(Errc::unreachable, options_->server.describe() + ": " + why, std::move(advice));
}

Error Connection::refused(const Reply& reply) const {
  if (reply.is(Reply::Type::error)) return refusal(server(), reply.text);
  return {Errc::unreachable, 0, server() + ": it answers what was not asked for",
          "check redis.url"};
}

void Connection::close() {
  leave_parent();
  socket_.reset();
  reader_ = ReplyReader();
}

void Connection::leave_parent() {
  if (!socket_.valid() || owner_ == ::getpid()) return;
  static_cast<void>(socket_.release());
  reader_ = ReplyReader();
}

bool Connection::is_alive() const {
  if (!socket_.valid() || owner_ != ::getpid()) return false;
  std::byte peeked;
  const auto got = ::recv(socket_.get(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

Result<void> Connection::connect() {
  leave_parent();
  if (socket_.valid()) return {};
  const auto deadline = lock::Deadline::after(options_->connect_timeout);
  CACHECTL_ASSIGN(socket_, connect_to_server(options_->server, deadline));
  owner_ = ::getpid();
  reader_ = ReplyReader();
  auto done = log_in();
  if (!done) close();
  return done;
}

Result<void> Connection::log_in() {
  Commands commands;
  if (!options_->password.empty() && options_->server.user.empty()) {
    commands.add({"AUTH", options_->password});
  } else if (!options_->password.empty()) {
    commands.add({"AUTH", options_->server.user, options_->password});
  }
  if (options_->server.database != 0) {
    commands.add({"SELECT", std::to_string(options_->server.database)});
  }
  const bool must_lead = options_->topology == Topology::sentinel;
  // What sentinels say may be of a moment ago.
  if (must_lead) commands.add({"ROLE"});
  if (commands.count() == 0) return {};
  const auto last = commands.count() - 1;
  return run(commands,
             [&](std::size_t index, Reply& reply) -> Result<void> {
               if (reply.is(Reply::Type::error)) return fail(refused(reply).within("log in"));
               if (!must_lead || index != last) return {};
               if (!reply.elements.empty() && reply.elements[0]->text == "master") return {};
               return lost("it is not the master", "its sentinels will name another one");
             },
             {});
}

Result<void> Connection::exchange(const Commands& commands, const Take& take,
                                  const Patience& patience) {
  CACHECTL_TRY(connect());
  std::vector<std::pair<std::size_t, std::unique_ptr<Reply>>> elsewhere;
  const Take sorting = [&](std::size_t index, Reply& reply) -> Result<void> {
    if (!reply.is(Reply::Type::error)) return take(index, reply);
    elsewhere.emplace_back(index, std::make_unique<Reply>(std::move(reply)));
    return {};
  };
  auto done = run(commands, detour_ ? sorting : take, patience);
  if (!done) close();
  for (auto& [index, reply] : elsewhere) {
    if (!done) break;
    auto answer = detour_(commands.at(index), std::move(reply), patience);
    done = answer ? take(index, **answer) : fail(std::move(answer).error());
  }
  return done;
}

Result<std::unique_ptr<Reply>> Connection::ask(std::initializer_list<std::string_view> command) {
  std::unique_ptr<Reply> answer;
  CACHECTL_TRY(exchange(Commands().add(command), [&](std::size_t, Reply& reply) -> Result<void> {
    answer = std::make_unique<Reply>(std::move(reply));
    return {};
  }));
  return answer;
}

Result<void> Connection::say(const Commands& commands) {
  CACHECTL_TRY(connect());
  std::string_view rest = commands.bytes();
  Timer sending(options_->write_timeout);
  auto done = send_some(rest, sending);
  while (done && !rest.empty()) {
    const auto ready = wait_for_socket(socket_.get(), POLLOUT, sending.end());
    done = ready && *ready ? send_some(rest, sending) : lost("it does not take a request in time");
  }
  if (!done) close();
  return done;
}

Result<std::unique_ptr<Reply>> Connection::listen(const lock::Deadline& deadline, int wake) {
  while (true) {
    auto reply = reader_.next();
    if (reply != nullptr) return reply;
    if (reader_.failed()) return lost("its answer is not the Redis protocol", "check redis.url");
    std::array<pollfd, 2> waited{{{socket_.get(), POLLIN, 0}, {wake, POLLIN, 0}}};
    CACHECTL_ASSIGN(const bool ready, wait_for_any(waited, deadline));
    if (!ready || waited[1].revents != 0) return nullptr;
    CACHECTL_TRY(receive_some());
  }
}

/// Sends and receives at the same time: a server that cannot get rid of its answers stops
/// to read.
Result<void> Connection::run(const Commands& commands, const Take& take, const Patience& patience) {
  std::string_view rest = commands.bytes();
  Timer sending(options_->write_timeout);
  while (!rest.empty()) {
    CACHECTL_TRY(send_some(rest, sending));
    if (rest.empty()) break;
    CACHECTL_ASSIGN(const bool ready,
                    wait_for_socket(socket_.get(), POLLIN | POLLOUT, sending.end()));
    if (!ready) {
      return lost("it does not take a request in time",
                  "raise redis.write-timeout if that is rare");
    }
    CACHECTL_TRY(receive_some());
  }
  Timer receiving(options_->read_timeout, patience);
  for (std::size_t index = 0;;) {
    // Looked at once for all that has come: a look at the clock costs a tenth of a small reply.
    const auto before = SteadyClock::now();
    while (index < commands.count()) {
      auto reply = reader_.next();
      if (reader_.failed()) return lost("its answer is not the Redis protocol", "check redis.url");
      if (reply == nullptr) break;
      CACHECTL_TRY(take(index++, *reply));
      reader_.give_back(std::move(reply));
    }
    if (index == commands.count()) break;
    receiving.put_off(SteadyClock::now() - before);
    CACHECTL_ASSIGN(const bool ready, wait_for_socket(socket_.get(), POLLIN, receiving.end()));
    if (!ready || receiving.end().passed()) {
      return lost("no answer in time", "raise redis.read-timeout if that is rare");
    }
    CACHECTL_ASSIGN(const auto received, receive_some());
    receiving.moved(received);
  }
  if (!reader_.is_empty()) return lost("it answers more than it was asked", "check redis.url");
  return {};
}

Result<void> Connection::send_some(std::string_view& rest, Timer& timer) {
  while (!rest.empty() && !timer.end().passed()) {
    const auto sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (sent < 0) return lost(system_error("send").message);
    timer.moved(static_cast<std::size_t>(sent));
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

/// How much was there; nothing is no failure.
Result<std::size_t> Connection::receive_some() {
  const auto room = reader_.room();
  const auto got = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
  if (got < 0) return lost(system_error("receive").message);
  if (got == 0) return lost("it has closed the connection");
  const auto size = static_cast<std::size_t>(got);
  reader_.received(size);
  return size;
}

}  // namespace cachectl::remote
