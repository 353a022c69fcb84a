#include "cli/progress_line.hpp"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "cli/session.hpp"
#include "lock/signals.hpp"

namespace cachectl::cli {

namespace {

constexpr std::string_view kErase = "\r\x1b[K";

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

/// Of a shell's job in the background, which has no say on the terminal.
bool in_background() {
  const pid_t foreground = ::tcgetpgrp(STDERR_FILENO);
  return foreground > 0 && foreground != ::getpgrp();
}

extern "C" void erase_and_end(int signal) {
  const int before = errno;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kErase.data(), kErase.size());
  ::raise(signal);  // by its default action, as soon as we return
  errno = before;
}

}  // namespace

ProgressLine::ProgressLine(std::chrono::nanoseconds delay)
    : next_(std::chrono::steady_clock::now() + delay), seen_(is_terminal(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::show(const std::function<std::string()>& text) {
  const auto now = std::chrono::steady_clock::now();
  if (!seen_ || now < next_ || in_background()) return;
  next_ = now + std::chrono::milliseconds(200);
  if (!shown_) erase_on_signals();
  shown_ = true;
  // Back at its start, so that a message of somebody else replaces it.
  say("\r" + fitting(text()) + "\x1b[K\r");
}

void ProgressLine::clear() {
  if (!shown_) return;
  say(std::string(kErase));
  leave_signals();
  shown_ = false;
}

SharedLine::SharedLine() {
  void* page =
      ::mmap(nullptr, sizeof *taken_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED) taken_ = new (page) std::atomic<bool>(false);
}

SharedLine::~SharedLine() {
  if (taken_ != nullptr) ::munmap(taken_, sizeof *taken_);
}

void SharedLine::take_away() const {
  if (taken_ == nullptr || taken_->exchange(true)) return;
  if (is_terminal(STDERR_FILENO)) say(std::string(kErase));
}

std::string_view SharedLine::eraser() const {
  return !is_taken_away() && is_terminal(STDERR_FILENO) ? kErase : std::string_view();
}

/// Only where the signal would end us: what is ignored or trapped stays so.
void ProgressLine::erase_on_signals() {
  for (std::size_t index = 0; index < kEnding.size(); ++index) {
    struct sigaction action {};
    ::sigaction(kEnding[index], nullptr, &action);
    handled_[index] = action.sa_handler == SIG_DFL;
    if (!handled_[index]) continue;
    action.sa_handler = erase_and_end;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigemptyset(&action.sa_mask);
    ::sigaction(kEnding[index], &action, nullptr);
  }
}

void ProgressLine::leave_signals() const {
  for (std::size_t index = 0; index < kEnding.size(); ++index) {
    if (handled_[index]) ::signal(kEnding[index], SIG_DFL);
  }
}

}  // namespace cachectl::cli
