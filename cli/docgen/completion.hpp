// Completion of the command line, for the shells that people type into.
//
// Subcommands, options and choices are those of the definitions. Keys, entries, leases and
// replicas are asked of the cache that the line names; whatever goes wrong with that completes
// to nothing, without a word. A name that cachectl prints escaped, because it has bytes that a
// terminal would not show, is left out.
//
// Each is what comes behind completion.SHELL, the part that does not depend on the definitions.
#pragma once

#include <string>

#include "cli/docgen/described.hpp"

namespace cachectl::cli {

[[nodiscard]] std::string bash_completion(const Described& all);
[[nodiscard]] std::string fish_completion(const Described& all);
[[nodiscard]] std::string zsh_completion(const Described& all);

}  // namespace cachectl::cli
