// Overlay: a replica that costs nothing to make, for the length of one command.
//
// The command and what it starts see, at the replica's path, the generation with a layer on
// top that takes their changes. Nobody else sees it: it is mounted in a mount namespace of
// their own, and where we are not allowed to mount, in a user namespace too, in which every
// user but theirs is called nobody.
#pragma once

#include <functional>
#include <string>

#include "src/pool/pool.hpp"

namespace cachectl::pool {

/// To be run in the child between fork and exec (lock::Command::in_child): mounts the
/// overlay of `slot`, which prepare_overlay has made, over `generation`. False, with errno:
/// this system does not allow it, or the file system cannot. Both must outlive the call.
[[nodiscard]] std::function<bool()> mount_overlay(const Slot& slot, const KeyHash& hash,
                                                  store::Generation generation);

}  // namespace cachectl::pool
