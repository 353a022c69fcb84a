// Options that several commands share.
#pragma once

#include <string>

#include "cli/definition.hpp"

namespace cachectl::cli {

inline void define_timeout(Definition& definition) {
  definition.setting("--timeout", "timeout", "D", "Longest wait for the lock: 20s, 5m, never");
}

inline void define_durability(Definition& definition) {
  definition.setting("--durability", "durability", "full|none",
                     "full survives power loss; none is faster");
}

}  // namespace cachectl::cli
