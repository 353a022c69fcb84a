// Making a tree durable: when it returns, all of it survives a loss of power.
//
// Not the name of the tree in its parent: sync that directory afterwards, as after every
// rename.
#pragma once

#include <string>

#include "lock/directory.hpp"
#include "src/tree/manifest.hpp"

namespace cachectl::tree {

/// `parent` must have been opened before the tree was written: errors of writing back are
/// reported to descriptors that are older than they. The manifest says which files and
/// directories there are. A failed sync is final: give the tree up, and never sync it again
/// (see lock::sync).
[[nodiscard]] Result<void> sync_tree(const lock::Directory& parent, const std::string& name,
                                     const Manifest& manifest);

}  // namespace cachectl::tree
