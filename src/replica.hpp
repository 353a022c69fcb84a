// Words about replicas that the configuration and the pools share.
#pragma once

namespace cachectl {

/// How a replica is made, see docs/pool.md; in the order of the choices of pool.copy.
enum class Way { overlay, reflink, hard_link, copy };

/// Which replicas are made like new when they are taken again; in the order of the choices
/// of pool.reset.
enum class Reset {
  no,      ///< none: a replica keeps what its last owner changed
  dirty,   ///< where its last owner changed something
  always,  ///< each is copied anew
};

}  // namespace cachectl
