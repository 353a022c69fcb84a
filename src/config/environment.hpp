// Environment: where variables are looked up. Passed in, so that a test has its own.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace cachectl::config {

/// The value of a variable, or nullptr. `Environment(::getenv)` is the process's own.
using Environment = std::function<const char*(const char*)>;

/// The value, or an empty text when the variable is not set. Set but empty counts as
/// not set, as in the XDG base directory specification.
[[nodiscard]] inline std::string_view variable(const Environment& environment, const char* name) {
  const char* value = environment(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

}  // namespace cachectl::config
