#include "cli/paint.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/session.hpp"

namespace cachectl::cli {

Paint::Paint() {
  const char* refused = ::getenv("NO_COLOR");
  const char* terminal = ::getenv("TERM");
  on_ = is_terminal(STDOUT_FILENO) && (refused == nullptr || *refused == '\0') &&
        terminal != nullptr && std::string_view(terminal) != "dumb";
}

std::string Paint::with(std::string_view code, const std::string& text) const {
  return on_ ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

}  // namespace cachectl::cli
