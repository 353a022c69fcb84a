// Plan: what has to be done to a replica, and nothing more. Decides only; touches nothing.
//
// An item is kept when three things hold: the user has not touched it (its stamp is the one
// in the snapshot), both manifests agree about it, and it shares its file with the same
// names in both. Everything else is replaced, which is always right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "src/tree/copier.hpp"
#include "src/tree/manifest.hpp"
#include "src/tree/update.hpp"
#include "src/tree/walk.hpp"

namespace cachectl::tree {

enum class Action : char {
  keep,
  retouch,  ///< the same file with another mode or time
  put,      ///< make it; what is in its place is removed first
};

struct Plan {
  /// For each item of the new manifest.
  std::vector<Action> actions;
  /// Directories whose mode and time have to be set in the end, because they are not right
  /// or will not be after what is done in them.
  std::vector<bool> dirty;
  /// What is there now at the path of each item; npos: nothing.
  std::vector<std::size_t> present;
  /// What is to be removed, with all below it: of what is there now.
  Indexes removals;
  std::uint64_t removed = 0;  ///< as in Updated
  std::uint64_t changed = 0;

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
};

/// `is` is what a walk of the replica has found.
[[nodiscard]] Plan plan_update(const Filled& was, const std::vector<Found>& is,
                               const Manifest& now);

}  // namespace cachectl::tree
