// ProgressLine: one line on a terminal that says how far a long operation has come.
#pragma once

#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace cachectl::cli {

/// Nothing where standard error is no terminal, or one on which another job is in the
/// foreground; else shown until it is cleared or the object goes, and erased also when a signal
/// ends the process.
///
/// There is one at a time. What else is written to the terminal comes after clear().
class ProgressLine {
 public:
  /// `delay`: the operation has to last for so long first.
  explicit ProgressLine(std::chrono::nanoseconds delay = std::chrono::seconds(1));
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Whether there is anybody to show it to.
  [[nodiscard]] bool is_seen() const { return seen_; }
  /// Shows what `text` returns, cut to the width of the terminal, unless the line has just
  /// changed.
  void show(const std::function<std::string()>& text);
  void clear();

 private:
  static constexpr std::array<int, 4> kEnding{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
  void erase_on_signals();
  void leave_signals() const;

  std::chrono::steady_clock::time_point next_;  // the line may change then
  bool seen_;
  bool shown_ = false;
  std::array<bool, kEnding.size()> handled_{};
};

/// The line of one process on a terminal that others write to as well: they take it away first.
/// In memory that a process shares with those that it forks.
class SharedLine {
 public:
  SharedLine();
  ~SharedLine();
  SharedLine(const SharedLine&) = delete;
  SharedLine& operator=(const SharedLine&) = delete;

  /// From now on the terminal is somebody else's: the line is erased and not shown again.
  void take_away() const;
  [[nodiscard]] bool is_taken_away() const { return taken_ != nullptr && *taken_; }
  /// What erases it, for who has one line to write at once; empty: it is gone.
  [[nodiscard]] std::string_view eraser() const;

 private:
  std::atomic<bool>* taken_ = nullptr;  // null: there was no memory to be had
};

}  // namespace cachectl::cli
