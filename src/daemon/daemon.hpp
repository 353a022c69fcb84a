// Daemon: the loop that makes values before somebody asks. One thread; it does nothing
// itself that could take long, but in workers (lock/worker.hpp), so many at a time.
//
//   starting --each entry without a value was tried--> ready --TERM, INT--> stopping
//
//   TERM, INT   workers are asked to end, killed 4 s later, and the loop ends
//   HUP         the configuration is read anew; a wrong one is refused, and the old one stays
//
// What fails is logged and tried again, and never ends it. The service manager is told
// (notify.hpp). It knows nothing of a cache: what is done, how the configuration is read,
// and who it is told is handed in.
//
// For programs with one thread, whose only children are the workers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lock/signals.hpp"
#include "lock/worker.hpp"
#include "src/daemon/board.hpp"
#include "src/daemon/notify.hpp"
#include "src/daemon/schedule.hpp"

namespace cachectl::daemon {

struct Plan {
  std::vector<Schedule::Entry> entries;
  std::uint64_t jobs = 4;                                                  ///< at a time
  std::chrono::nanoseconds gc_interval = std::chrono::nanoseconds::max();  ///< max: never
  int listener = -1;     ///< a socket that `serve` answers at; -1: none
  bool follows = false;  ///< what other machines change
};

struct Duties {
  /// Reads the configuration; from then on it is the one that the others go by.
  std::function<Result<Plan>()> load;
  /// In a child: makes the value of an entry anew, unless another machine began to make it less
  /// than `new_enough` ago. Then the text of the success is how many nanoseconds ago that was.
  std::function<lock::WorkReport(const std::string& name, std::chrono::nanoseconds new_enough)>
      refresh;
  /// In a child.
  std::function<lock::WorkReport()> collect;
  /// In a child, which is started again when it ends: answers requests at the listener.
  std::function<lock::WorkReport(const Notice&)> serve;
  /// In a child, which is started again when it ends: keeps what is on this disk like what other
  /// machines publish and remove.
  std::function<lock::WorkReport()> follow;
  /// Before work is begun: an error ends the daemon.
  std::function<Result<void>()> check;
  /// One line for people.
  std::function<void(const std::string& line)> log;
};

class Daemon {
 public:
  Daemon(Duties duties, Notify notify, Board board);

  /// Until it is told to end. Errors: `load` at the start, `check`, or no signals.
  [[nodiscard]] Result<void> run();

 private:
  using Time = Schedule::Time;
  struct Running {
    std::string name;
    lock::Worker worker;
    Time since;
  };

  /// A child that is started again when it ends.
  struct Standing {
    std::string name;
    std::optional<Running> running;
    Time next{};  // not before, so that one which ends at once costs little
  };

  [[nodiscard]] Result<void> start_work(Time now);
  void start_collection(Time now);
  void start_standing(Time now);
  [[nodiscard]] bool is_wanted(const Standing& child) const;
  [[nodiscard]] std::vector<const lock::Worker*> workers() const;
  void launch(const std::string& name, Time now);
  void wait(Time now) const;
  void handle_signals();
  void reap();
  bool reap_other(pid_t pid, int status);
  void settle(const Running& ended, const lock::WorkReport& report, Time now);
  void reload();
  void stop();
  void announce();
  [[nodiscard]] std::optional<Time> next_event() const;

  Duties duties_;
  Notify notify_;
  std::optional<lock::SignalTrap> trap_;
  Plan plan_;
  Schedule schedule_;
  std::map<pid_t, Running> running_;
  std::optional<Running> collection_;
  std::optional<Time> next_collection_;
  Board board_;
  Standing server_{"listener", {}, {}};
  Standing follower_{"fleet", {}, {}};
  bool ready_ = false;
  bool stopping_ = false;
  std::optional<Time> kill_at_;
};

}  // namespace cachectl::daemon
