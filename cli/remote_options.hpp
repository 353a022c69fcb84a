// The section [redis] of the configuration, as the remote tier takes it.
#pragma once

#include "src/config/settings.hpp"
#include "src/remote/options.hpp"

namespace cachectl::cli {

/// redis.url is set. Errors name the option. Reads the file with the password.
[[nodiscard]] Result<remote::Options> remote_options(const config::Settings& settings);

}  // namespace cachectl::cli
