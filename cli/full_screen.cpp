#include "cli/full_screen.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

#include "cli/session.hpp"
#include "lock/retry.hpp"

namespace cachectl::cli {

namespace {

// The second screen, without a cursor; and back. As of xterm, which all terminals follow today.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";

Result<void> write(std::string_view text) {
  return lock::write_all(STDOUT_FILENO, lock::bytes_of(text), "the terminal");
}

}  // namespace

Result<void> FullScreen::check() {
  const char* name = ::getenv("TERM");
  const std::string_view term = name == nullptr ? "" : name;
  const bool is_terminal_at_all = is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO);
  if (is_terminal_at_all && !term.empty() && term != "dumb") return {};
  return fail(Errc::usage,
              is_terminal_at_all
                  ? "the terminal cannot be drawn on: TERM is '" + escaped(term) + "'"
                  : std::string("standard input or output is no terminal"),
              "'cachectl status' and 'cachectl stats' print the same once");
}

Result<bool> FullScreen::enter() {
  if (entered_) return true;
  if (::tcgetpgrp(STDIN_FILENO) != ::getpgrp()) return false;
  if (::tcgetattr(STDIN_FILENO, &before_) != 0) {
    return fail(system_error("read the settings of the terminal"));
  }
  auto raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C stays a signal
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) {
    return fail(system_error("change the settings of the terminal"));
  }
  entered_ = true;
  CACHECTL_TRY(write(kEnter));
  return true;
}

void FullScreen::leave() {
  if (!entered_) return;
  entered_ = false;
  [[maybe_unused]] const auto written = write(kLeave);  // it may be gone
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

FullScreen::Size FullScreen::size() {
  winsize found{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0) return {};
  Size size;
  if (found.ws_row > 0) size.rows = found.ws_row;
  if (found.ws_col > 0) size.columns = found.ws_col;
  return size;
}

Result<void> FullScreen::draw(const std::vector<std::string>& lines) {
  std::string text = "\x1b[H";
  const auto rows = std::min(lines.size(), size().rows);
  for (std::size_t row = 0; row < rows; ++row) {
    // What was there is wiped first: behind the last column, that would wipe this column.
    text += (row == 0 ? "\x1b[K" : "\r\n\x1b[K") + lines[row];
  }
  if (rows < size().rows) text += "\r\n\x1b[J";
  return write(text);
}

Result<std::string> FullScreen::keys() {
  std::array<char, 64> pressed{};
  const auto got =
      lock::retry([&] { return ::read(STDIN_FILENO, pressed.data(), pressed.size()); });
  if (got < 0) return fail(system_error("read from the terminal"));
  return std::string(pressed.data(), static_cast<std::size_t>(got));
}

}  // namespace cachectl::cli
