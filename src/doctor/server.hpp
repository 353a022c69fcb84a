// Whether the Redis server of a cache is fit for it.
#pragma once

#include "src/clock.hpp"
#include "src/doctor/doctor.hpp"
#include "src/remote/options.hpp"

namespace cachectl::doctor {

/// Asks it, also where it is left alone after failures. Tries the commands of the cache on names of
/// its own, which it removes. A server that cannot be asked is a failure, and ends it.
void examine_server(const remote::Options& options, const Clock& clock, Report& report);

}  // namespace cachectl::doctor
