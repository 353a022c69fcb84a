// Updating: makes a copy of one tree a copy of another, by changing only what differs.
//
// For a replica that was filled with one generation, may have been changed by its user,
// and is to have another. Costs one lstat an item, and what has to be copied; files that
// are the same in both generations and were left alone by the user are not touched.
//
// Afterwards the replica is exactly what a fresh copy would be. Not atomic: after an error
// or an interruption it is a mixture, and the snapshot that it had is still good for
// another update (of the same `was`), which then finds more that was changed.
#pragma once

#include <cstdint>
#include <string>

#include "lock/directory.hpp"
#include "src/tree/copy.hpp"
#include "src/tree/manifest.hpp"
#include "src/tree/scan.hpp"

namespace cachectl::tree {

/// What a replica is known to be: the manifest it was filled from, and the snapshot that
/// was taken right after that.
struct Filled {
  Manifest manifest;
  Snapshot snapshot;
};

struct Updated {
  Method method = Method::copy;  ///< as in Outcome
  std::string why_not;
  std::uint64_t bytes = 0;    ///< of the files that were copied
  std::uint64_t files = 0;    ///< that were copied
  std::uint64_t removed = 0;  ///< items removed, replaced ones not counted
  std::uint64_t changed = 0;  ///< items that the user had changed, added or removed
  /// Taken after the update; with the new manifest it is the next `was`.
  Snapshot snapshot;
};

/// Makes the tree `name` in `parent` the one that `now` describes, whose files are in the
/// tree `from_name` in `from`. A file is taken as the same in both when size and checksum
/// are; where a manifest has no checksums, when size and modification time are.
[[nodiscard]] Result<Updated> update_tree(const lock::Directory& parent, const std::string& name,
                                          const Filled& was, const lock::Directory& from,
                                          const std::string& from_name, const Manifest& now,
                                          const CopyOptions& options = {});

}  // namespace cachectl::tree
