#include "cli/columns.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include "src/config/duration.hpp"

namespace cachectl::cli {

namespace {

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80; }

}  // namespace

std::size_t columns_of(int descriptor) {
  winsize size{};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string cut(const std::string& text, std::size_t width) {
  std::size_t characters = 0;
  std::size_t last = 0;  // where the last character that fits beside the ellipsis ends
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!begins_character(text[at])) continue;
    if (++characters == width) last = at;
    if (characters > width) return text.substr(0, last) + "…";
  }
  return text;
}

std::string short_form(std::chrono::nanoseconds duration) {
  const auto rounded = std::chrono::floor<std::chrono::seconds>(duration);
  return rounded.count() <= 0 ? "0s" : config::format_duration(rounded);
}

}  // namespace cachectl::cli
