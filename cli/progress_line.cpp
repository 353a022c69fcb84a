#include "cli/progress_line.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/session.hpp"

namespace cachectl::cli {

namespace {

void say(const std::string& text) {
  [[maybe_unused]] const auto told =
      lock::write_all(STDERR_FILENO, lock::bytes_of(text), "standard error");
}

/// A line that wraps could not be wiped.
std::string fitting(std::string text) {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  std::size_t cut = known ? size.ws_col - 1U : 79;
  if (text.size() <= cut) return text;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80) --cut;
  text.resize(cut);
  return text;
}

}  // namespace

ProgressLine::ProgressLine() : seen_(is_terminal(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(const std::function<std::string()>& text) {
  const auto now = std::chrono::steady_clock::now();
  if (!seen_ || now - start_ < std::chrono::seconds(1) ||
      now - last_ < std::chrono::milliseconds(200)) {
    return;
  }
  last_ = now;
  shown_ = true;
  // Back at its start, so that a message of somebody else replaces it.
  say("\r" + fitting(text()) + "\x1b[K\r");
}

void ProgressLine::clear() {
  if (shown_) say("\r\x1b[K");
  shown_ = false;
}

}  // namespace cachectl::cli
