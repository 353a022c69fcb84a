// Stamps: taking them, and letting the clock tick on.
#pragma once

#include <sys/stat.h>

#include <string>

#include "src/tree/scan.hpp"

namespace cachectl::tree {

[[nodiscard]] Stamp stamp_of(std::string path, const struct stat& status);

/// A scan without checksums that does not wait for the next tick: for the manifest.
[[nodiscard]] Result<Scan> list_tree(const lock::Directory& parent, const std::string& name);

/// Waits until a change gets another ctime than the newest stamp has. File systems take
/// times from a clock that ticks each 4 ms or so: a change in the same tick, of the same
/// size, would not be seen. (git calls such a file racily clean, and reads it again.)
void wait_for_next_tick(const Snapshot& snapshot);

}  // namespace cachectl::tree
