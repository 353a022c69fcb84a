// Removing a tree completely, and nothing else.
//
// Symbolic links are removed and not followed. Directories that cannot be read or written
// are made so first. What somebody else removes meanwhile is as good as removed. Trees of
// any depth and width need little memory and few descriptors.
//
// Refused with Errc::refused, by name: to go into another file system, mounted in the tree.
// After an error some of the tree is gone and some is left.
#pragma once

#include <cstdint>
#include <string>

#include "lock/directory.hpp"

namespace cachectl::tree {

struct Removed {
  std::uint64_t items = 0;  ///< 0: there was no such tree
};

/// Removes `name` in `parent`, whatever type of file it is.
[[nodiscard]] Result<Removed> remove_tree(const lock::Directory& parent, const std::string& name);

}  // namespace cachectl::tree
