#include "tests/cli/screen.hpp"

#include <catch2/catch.hpp>

namespace cachectl::test {

Screen::Screen(const Sandbox& sandbox, const std::string& script, int columns, int rows)
    : sandbox_(&sandbox) {
  const auto path = sandbox.script("on-screen", script + "\nexec sleep 1000\n");
  const auto started = tmux("-f /dev/null new-session -d -y " + std::to_string(rows) + " -x " +
                            std::to_string(columns) + " \"exec bash '" + path + "'\"");
  INFO(started.errors);
  REQUIRE(started.status == 0);
}

Screen::~Screen() { [[maybe_unused]] const auto ended = tmux("kill-server"); }

Outcome Screen::tmux(const std::string& command) const {
  return run(sandbox_->shell("unset TMUX; tmux -S ../tmux " + command));
}

std::string Screen::text() const {
  auto text = tmux("capture-pane -p").output;
  while (text.ends_with("\n\n") || text == "\n") text.pop_back();
  return text;
}

bool Screen::is(std::string_view expected) const {
  return wait_until([&] { return text() == expected; });
}

bool Screen::has(std::string_view part) const {
  return wait_until([&] { return text().find(part) != std::string::npos; });
}

void Screen::resize(int columns, int rows) const {
  REQUIRE(
      tmux("resize-window -x " + std::to_string(columns) + " -y " + std::to_string(rows)).status ==
      0);
}

bool Screen::flag(const std::string& name) const {
  return tmux("display-message -p '#{" + name + "}'").output == "1\n";
}

void Screen::press(const std::string& key) const { REQUIRE(tmux("send-keys " + key).status == 0); }

}  // namespace cachectl::test
