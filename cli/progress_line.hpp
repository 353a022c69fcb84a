// ProgressLine: one line on a terminal that says how far a long operation has come.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace cachectl::cli {

/// Nothing where standard error is no terminal; else from the second second on, and gone
/// with the object.
class ProgressLine {
 public:
  ProgressLine();
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
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_;
  bool seen_;
  bool shown_ = false;
};

}  // namespace cachectl::cli
