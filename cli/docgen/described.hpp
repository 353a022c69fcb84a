// What all commands accept, as manual pages and completion need it: the definitions that the
// commands themselves are built from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/definition.hpp"

namespace cachectl::cli {

struct DescribedCommand {
  std::string name;
  std::string summary;
  Description description;  ///< without the global options
};

struct Described {
  std::vector<DescribedCommand> commands;  ///< in the order of the help
  std::vector<Description::Option> globals;
};

[[nodiscard]] Described describe_all();

/// What can stand at a place, for completion. Also the name of the shell function that knows:
/// "keys", "leases", "fail|run"; empty: nothing that is known beforehand.
[[nodiscard]] std::string words_of(std::string_view command, const Description::Option& option);
[[nodiscard]] std::string words_of(const DescribedCommand& command,
                                   const Description::Positional& place);

/// The words of "fail|run"; none where there is no choice.
[[nodiscard]] std::vector<std::string> choices_of(std::string_view words);

}  // namespace cachectl::cli
