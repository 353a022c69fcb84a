// Route: which server has a key, and an exchange with it.
//
//   single     the one that is named
//   cluster    that of the key's slot: CLUSTER SLOTS, asked of any node; MOVED corrects one slot
//   sentinel   the one that a sentinel calls the master, and that says so itself (ROLE)
//
//   unknown --learn--> known --a server fails, or only reads--> stale --learn--> known
//
// Who has what is learned at the first call, and again when a server fails, at most every 50 to
// 100 ms; meanwhile, and where nobody tells, what was known last goes on: the values on the other
// servers of a cluster are served while one of them is dead.
//
// Each server has a pool and a breaker of its own, seeds too, as far as they are asked. So one
// dead server costs a machine five failures, and what is elsewhere costs nothing.
//
// Limits. Finding a server, and all that is done because the first one sent us on or failed,
// begins within the connect timeout plus the read timeout after the call began (`search`), and
// takes at most kMostDetours steps for a command. What begins then takes what one call to one
// server does. So no call takes longer than that and those two timeouts.
//
// Thread-safe. Fork: as the pool.
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "lock/directory.hpp"
#include "src/remote/breaker.hpp"
#include "src/remote/cluster.hpp"
#include "src/remote/pool.hpp"

namespace cachectl::remote {

class Route {
 public:
  static constexpr int kMostDetours = 8;

  struct Server {
    Server(Options given, const lock::Directory& root, mode_t file_mode);

    Options options;
    Pool pool;
    Breaker breaker;
    /// In this process, when it was last asked. It is then asked after the others.
    std::atomic<bool> has_failed{false};
  };
  using Work = std::function<Result<void>(Connection&)>;
  /// Told that a server is to be left alone (true), or that it is back.
  using Tell = std::function<void(bool is_open)>;

  /// `root` must outlive it.
  Route(Options options, const lock::Directory& root, mode_t file_mode, Tell tell);

  [[nodiscard]] const Options& options() const { return options_; }
  /// When a call that begins now has searched long enough.
  [[nodiscard]] lock::Deadline search() const;
  /// The server for a name of ours; it lives as long as the route. Errc::unreachable,
  /// Errc::left_alone: nobody tells where it is.
  [[nodiscard]] Result<Server*> find(std::string_view name, const lock::Deadline& search);
  /// The one that has taken over from `failed`; null: nobody has, as far as anybody tells in time.
  [[nodiscard]] Server* successor(const Server& failed, std::string_view name,
                                  const lock::Deadline& search);
  /// The next find asks again who has what.
  void suspect();
  /// Does `work` on a connection. Errc::left_alone; Errc::unreachable, and the errors of `work`.
  [[nodiscard]] Result<void> with(Server& server, const Work& work, const lock::Deadline& search);

 private:
  using Map = std::vector<Server*>;  // by slot; null: nobody
  using Clock = lock::Deadline::Clock;

  [[nodiscard]] Result<void> lend(Server& server, const Work& work);
  [[nodiscard]] Result<std::unique_ptr<Reply>> detour(Server& from, std::string_view command,
                                                      std::unique_ptr<Reply> reply,
                                                      const Patience& patience,
                                                      const lock::Deadline& search);
  [[nodiscard]] Slot slot_for(std::string_view name) const;
  [[nodiscard]] Result<void> learn(const lock::Deadline& search);
  [[nodiscard]] Result<void> ask_around(const std::vector<Server*>& whom,
                                        const lock::Deadline& search);
  [[nodiscard]] Result<void> ask_for_map(Server& whom, const lock::Deadline& search);
  [[nodiscard]] std::vector<Server*> whom_to_ask();
  [[nodiscard]] Server* server_at(const Address& address);
  Server* add(Options options);

  Options options_;
  const lock::Directory* root_;
  mode_t file_mode_;
  Tell tell_;
  std::vector<Server*> seeds_;  // of a single server, that one

  std::mutex mutex_;  // of the rest
  std::condition_variable learned_;
  std::vector<std::unique_ptr<Server>> servers_;  // all that were ever named, seeds too
  Map map_;                                       // empty: not known
  bool is_stale_ = false;
  bool is_learning_ = false;
  Clock::time_point next_learning_{};
};

}  // namespace cachectl::remote
