// Screen: what a person sees of a script that runs in a terminal, by tmux(1).
#pragma once

#include <string>
#include <string_view>

#include "tests/cli/support.hpp"

namespace cachectl::test {

class Screen {
 public:
  /// Runs it in the foreground of a terminal of that many columns, with $cachectl and the cache
  /// in its environment. It stays when the script has ended.
  Screen(const Sandbox& sandbox, const std::string& script, int columns = 100);
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

 private:
  [[nodiscard]] Outcome tmux(const std::string& command) const;
  const Sandbox* sandbox_;
};

}  // namespace cachectl::test
