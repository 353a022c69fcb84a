// Notify: what a service manager is told, by the protocol of sd_notify(3): a datagram to the
// socket that $NOTIFY_SOCKET names (a path, or an abstract name behind '@'), and signs of
// life where $WATCHDOG_USEC asks for them. Without the variables it does nothing.
//
// Not libsystemd: the protocol is a line of text, and the command stays static.
//
// Thread rules: belongs to one thread.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "lock/fd.hpp"

namespace cachectl::daemon {

class Notify {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// The value of a variable, or nullptr.
  using Environment = std::function<const char*(const char*)>;

  /// Errc::config: a variable that cannot be meant. `own_pid`: who we are for $WATCHDOG_PID.
  [[nodiscard]] static Result<Notify> create(const Environment& environment, pid_t own_pid);
  /// Of this process; takes the variables away, so that no source speaks in our name.
  [[nodiscard]] static Result<Notify> adopt();

  /// "READY=1\nSTATUS=..."; waits no longer than two seconds for a manager that does not
  /// read. False: it was not delivered.
  bool send(std::string_view message) const;

  /// "STATUS=", once for each text.
  void status(std::string_view text);

  /// When the next sign of life is due; nullopt: nobody asks for one.
  [[nodiscard]] std::optional<Time> next_sign() const { return next_sign_; }
  /// Gives it if it is due.
  void give_sign(Time now);

 private:
  Notify() = default;
  lock::Fd socket_;
  std::string address_;  // as in sun_path, with a leading NUL where it is abstract
  std::string last_status_;
  std::chrono::nanoseconds sign_interval_{0};
  std::optional<Time> next_sign_;
};

/// "MONOTONIC_USEC=...", for RELOADING=1.
[[nodiscard]] std::string monotonic_stamp();

}  // namespace cachectl::daemon
