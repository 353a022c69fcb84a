// FullScreen: a terminal that one program draws on and reads keys from, and that is afterwards
// as it was before.
#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <vector>

#include "lock/result.hpp"

namespace cachectl::cli {

/// On standard input and output. Not thread-safe; there is one at a time.
class FullScreen {
 public:
  struct Size {
    std::size_t rows = 24;
    std::size_t columns = 80;
  };

  /// Errc::usage: they are no terminal, or one that cannot be drawn on ($TERM).
  [[nodiscard]] static Result<void> check();

  FullScreen() = default;
  /// Leaves.
  ~FullScreen() { leave(); }
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  /// Shows an empty screen, and keys as they are pressed. Nothing is changed, and false returned,
  /// while another job has the terminal.
  [[nodiscard]] Result<bool> enter();
  /// Shows what was there before, with all settings of before. No more if not entered.
  void leave();

  [[nodiscard]] static Size size();
  /// At once and from the top, those that fit. No line is longer than the screen is wide.
  [[nodiscard]] static Result<void> draw(const std::vector<std::string>& lines);
  /// What was pressed since; never waits. An error: the terminal is gone.
  [[nodiscard]] static Result<std::string> keys();

 private:
  bool entered_ = false;
  termios before_{};
};

}  // namespace cachectl::cli
