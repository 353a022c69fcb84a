// Leaving the caller behind: for a forked process that outlives the command that made it.
#pragma once

#include <vector>

namespace cachectl::lock {

/// Closes all descriptors of this process but these.
void close_all_but(std::vector<int> kept);

/// Gives up what this process has from its caller, so that nobody waits for it: its
/// session and terminal, its streams (they become /dev/null), all descriptors but `kept`,
/// and what he does with signals. Its working directory stays. False: it could not.
[[nodiscard]] bool detach(std::vector<int> kept);

}  // namespace cachectl::lock
