#pragma once

#include <cerrno>

namespace cachectl::lock {

/// Calls a system call until it is not interrupted by a signal.
template <typename Call>
auto retry(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace cachectl::lock
