// Paint: escape sequences for a terminal that takes them, or nothing.
#pragma once

#include <string>
#include <string_view>

namespace cachectl::cli {

class Paint {
 public:
  /// For standard output: a terminal, and $NO_COLOR is not set (no-color.org).
  Paint();

  [[nodiscard]] std::string bold(const std::string& text) const { return with("1", text); }
  [[nodiscard]] std::string red(const std::string& text) const { return with("31", text); }
  [[nodiscard]] std::string yellow(const std::string& text) const { return with("33", text); }

 private:
  [[nodiscard]] std::string with(std::string_view code, const std::string& text) const;
  bool on_;
};

}  // namespace cachectl::cli
