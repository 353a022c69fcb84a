#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/definition.hpp"

namespace cachectl::cli {

/// Runs the command line without the program's name; returns the exit status.
[[nodiscard]] int dispatch(std::vector<std::string> arguments);

/// The help of the whole program, and of one command.
[[nodiscard]] std::string overview();
[[nodiscard]] Result<std::string> help_of(std::string_view command);

}  // namespace cachectl::cli
