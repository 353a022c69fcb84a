// Subvolumes of btrfs: trees that are copied as a whole, by one call.
#pragma once

#include <string>

#include "lock/directory.hpp"

namespace cachectl::tree {

/// Makes `name` in `to` a writable snapshot of the subvolume whose top directory `from` is open
/// for reading. False: it is none, or that of another user, or not of this file system. What are
/// subvolumes within it are empty directories in the snapshot.
[[nodiscard]] Result<bool> snapshot_subvolume(int from, const lock::Directory& to,
                                              const std::string& name);

/// Where `directory`, open for reading, is the top of a subvolume that is set read-only, sets it
/// writable, if this user may. Nothing elsewhere.
void make_subvolume_writable(int directory);

}  // namespace cachectl::tree
