// Connection: one client of a Redis server, every wait of which ends in time.
//
//   unconnected --exchange--> connected --exchange--> connected
//        ^                        |
//        `---- any failure, or a fork ----'
//
// Nothing connects before the first exchange. An exchange is a batch of commands and all of
// its replies; it ends within the write timeout plus the read timeout, and one timeout more
// for each 4 MiB that went over (connecting: within the connect timeout, plus one exchange for
// AUTH and SELECT). A server that drips bytes gains nothing. After anything but a complete
// exchange the socket is closed, as what comes next on it could be anybody's answer.
//
// hiredis parses; sending and waiting are ours, because its blocking calls bound one read
// and not one answer. MSG_NOSIGNAL: a server that goes away is an error and no SIGPIPE.
//
// Fork: a child that uses the object connects anew. It leaves the number of its parent's
// socket alone, which may be another file by then.
//
// Thread rules: one thread at a time.
#pragma once

#include <sys/types.h>

#include <functional>

#include "lock/deadline.hpp"
#include "src/remote/options.hpp"
#include "src/remote/reply.hpp"

namespace cachectl::remote {

/// For a command that the server answers when something has happened.
struct Patience {
  std::chrono::nanoseconds more{0};        ///< beyond the read timeout
  lock::WaitObserver* observer = nullptr;  ///< of the wait for the reply
};

class Connection {
 public:
  /// `options` must outlive it.
  explicit Connection(const Options& options) : options_(&options) {}
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Called with each reply, in order. The time that it takes is not the server's. An error
  /// ends the exchange.
  using Take = std::function<Result<void>(std::size_t index, Reply& reply)>;

  /// Errc::unreachable for what the server is to blame for; error replies are replies.
  [[nodiscard]] Result<void> exchange(const Commands& commands, const Take& take,
                                      const Patience& patience = {});
  /// The reply to one command.
  [[nodiscard]] Result<std::unique_ptr<Reply>> ask(std::initializer_list<std::string_view> command);

  /// For what the server says unasked, once it was told to (SUBSCRIBE): sends commands, and waits
  /// for no reply.
  [[nodiscard]] Result<void> say(const Commands& commands);
  /// What comes next; null: nothing until the deadline, or until `wake` can be read.
  [[nodiscard]] Result<std::unique_ptr<Reply>> listen(const lock::Deadline& deadline, int wake);

  /// Has error replies to single commands of an exchange that another server may answer: the
  /// reply to it, at last. Errors end the exchange, and leave the connection as it is.
  using Detour = std::function<Result<std::unique_ptr<Reply>>(
      std::string_view command, std::unique_ptr<Reply> reply, const Patience& patience)>;
  /// Empty: none. It has all error replies, and returns those that it leaves as they are.
  void set_detour(Detour detour) { detour_ = std::move(detour); }

  /// A reply that is not what was asked for, as an error: see refusal().
  [[nodiscard]] Error refused(const Reply& reply) const;
  /// For messages.
  [[nodiscard]] std::string server() const { return options_->server.describe(); }

  /// Connected, and the other end has neither gone nor said anything unasked.
  [[nodiscard]] bool is_alive() const;
  [[nodiscard]] bool is_connected() const { return socket_.valid(); }
  /// Connects and logs in, unless that is done. Errc::unreachable, Errc::remote_refused.
  [[nodiscard]] Result<void> connect();

 private:
  class Timer;
  void close();
  void leave_parent();
  [[nodiscard]] Result<void> log_in();
  [[nodiscard]] Result<void> run(const Commands& commands, const Take& take,
                                 const Patience& patience);
  [[nodiscard]] Result<void> send_some(std::string_view& rest, Timer& timer);
  [[nodiscard]] Result<std::size_t> receive_some();
  [[nodiscard]] tl::unexpected<Error> lost(const std::string& why, std::string advice = {}) const;

  const Options* options_;
  lock::Fd socket_;
  Detour detour_;
  pid_t owner_ = 0;  // the process that connected
  ReplyReader reader_;
};

}  // namespace cachectl::remote
