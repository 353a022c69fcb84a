// Screen: what a person sees of a script that runs in a terminal, by tmux(1).
#pragma once

#include <string>
#include <string_view>

#include "tests/cli/support.hpp"

namespace cachectl::test {

class Screen {
 public:
  /// Runs it in the foreground of a terminal of that size, with $cachectl and the cache in its
  /// environment. It stays when the script has ended.
  Screen(const Sandbox& sandbox, const std::string& script, int columns = 100, int rows = 12);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// All that is on it now.
  [[nodiscard]] std::string text() const;
  /// Waits until all of it is as `expected`, or has `part`.
  [[nodiscard]] bool is(std::string_view expected) const;
  [[nodiscard]] bool has(std::string_view part) const;
  /// As tmux names keys: "C-c".
  void press(const std::string& key) const;
  void resize(int columns, int rows) const;
  /// Whether a program draws on the second screen, and whether the cursor is seen.
  [[nodiscard]] bool is_second() const { return flag("alternate_on"); }
  [[nodiscard]] bool has_cursor() const { return flag("cursor_flag"); }

 private:
  [[nodiscard]] bool flag(const std::string& name) const;
  [[nodiscard]] Outcome tmux(const std::string& command) const;
  const Sandbox* sandbox_;
};

}  // namespace cachectl::test
