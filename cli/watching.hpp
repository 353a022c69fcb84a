// Watching: what people see of one operation while it waits for a lock or runs a source.
//
// On a terminal that is a line which changes in place, see ProgressLine. Elsewhere it is one
// message when a wait is over that took long.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "cli/session.hpp"

namespace cachectl::cli {

class Watching final : public lock::WaitObserver, public refresh::RunObserver {
 public:
  /// An operation on a key; null: on the whole cache. All must outlive it.
  Watching(Session& session, const Cache& cache, const Key* key);
  /// One that waits for something else: `what`, which `held` says who holds.
  Watching(Session& session, const Key* key, std::string what, std::function<std::string()> held);
  ~Watching() override { conclude(); }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

  /// Goes on to the next key of an operation on several.
  void turn_to(const Key& key);

  /// The same deadline, and waits for it are watched.
  [[nodiscard]] lock::Deadline watched(const lock::Deadline& deadline);
  [[nodiscard]] refresh::Sink watched(refresh::Sink sink) {
    sink.observer = this;
    return sink;
  }

  void waiting() override;
  void waited() override;
  bool starts() override;
  void runs(std::chrono::nanoseconds since) override;
  void passes_on(int descriptor) override;
  void ran() override;

 private:
  using Clock = lock::Deadline::Clock;

  [[nodiscard]] std::string what() const;
  [[nodiscard]] std::string holder();
  void conclude();

  Session* session_;
  const Cache* cache_ = nullptr;
  const Key* key_;
  std::string what_;
  std::function<std::string()> held_;
  lock::Deadline deadline_ = lock::Deadline::never();
  std::optional<lock::OwnerNote> owner_;
  std::string last_holder_;
  std::optional<Clock::time_point> since_;  // of the wait
  std::chrono::nanoseconds waited_{0};      // so far, and not said yet
  bool silent_ = false;                     // what the source says is on the terminal
};

}  // namespace cachectl::cli
