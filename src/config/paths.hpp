// The paths that come from the environment and from a user's hand.
//
// Thread-safe; only `from_working_directory` asks the operating system.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lock/result.hpp"
#include "src/config/environment.hpp"

namespace cachectl::config {

/// $`variable_name`/cachectl, else $HOME/`below_home`/cachectl; none without a home.
/// Relative values do not count, as in the XDG base directory specification.
[[nodiscard]] std::optional<std::string> xdg_directory(const Environment& environment,
                                                       const char* variable_name,
                                                       std::string_view below_home);

/// A path of a configuration file: absolute or `~/...`. A file is read from any
/// working directory, so a relative path in it would name a different cache each time.
[[nodiscard]] Result<std::string> path_in_file(std::string_view text,
                                               const Environment& environment);

/// A path of a flag or a variable: relative ones start at the working directory.
[[nodiscard]] Result<std::string> from_working_directory(std::string_view text);

}  // namespace cachectl::config
