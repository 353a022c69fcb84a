// Pool: the connections of this process to one server.
//
//   checkout --> lent --destructor--> idle (or closed, where an exchange failed)
//
// Made as they are needed, up to `pool_size`; who comes when all are lent waits for one, for
// the connect timeout at most. Idle ones beyond `min_idle` are closed once they have not been
// used for half a minute, when another comes back. One that the server has closed meanwhile is
// found out before it is lent, so a server that was restarted costs no request.
//
// After a failure to connect no other attempt is made for 10 ms, doubled with each further one
// up to 1 s, of which half is drawn at random: asking fails at once meanwhile.
//
// Fork: a child starts with an empty pool. Thread-safe, but for the first call after a fork.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "src/remote/connection.hpp"

namespace cachectl::remote {

class Pool {
 public:
  class Lent;

  /// `options` must outlive it.
  explicit Pool(const Options& options);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  enum class Pause {
    keep,
    skip,  ///< this is the one attempt that is made after a long pause
  };

  /// A connected one. Errc::unreachable: none could be had. `attempted`, if given, becomes
  /// whether the server was asked: it was not where all are lent, or it is too soon.
  [[nodiscard]] Result<Lent> checkout(Pause pause = Pause::keep, bool* attempted = nullptr);

  /// Connections that are open and not lent.
  [[nodiscard]] std::size_t idle();

 private:
  struct State;
  [[nodiscard]] std::shared_ptr<State> state();

  const Options* options_;
  std::shared_ptr<State> state_;
};

/// One connection, as long as this lives. The pool may go first.
class Pool::Lent {
 public:
  Lent(Lent&&) noexcept = default;
  Lent& operator=(Lent&&) = delete;
  ~Lent();
  [[nodiscard]] Connection& operator*() const { return *connection_; }
  [[nodiscard]] Connection* operator->() const { return connection_.get(); }

 private:
  friend class Pool;
  Lent(std::shared_ptr<State> state, std::unique_ptr<Connection> connection)
      : state_(std::move(state)), connection_(std::move(connection)) {}
  std::shared_ptr<State> state_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace cachectl::remote
