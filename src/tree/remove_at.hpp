#pragma once

#include <string>

#include "src/tree/remove.hpp"

namespace cachectl::tree {

/// remove_tree() in a directory that is known by its descriptor. `where` names it in errors.
[[nodiscard]] Result<Removed> remove_at(int parent, const std::string& where,
                                        const std::string& name);

}  // namespace cachectl::tree
