// The section [redis] of the configuration, as the remote tier takes it.
#pragma once

#include <optional>

#include "src/config/settings.hpp"
#include "src/remote/options.hpp"

namespace cachectl::cli {

/// Where the servers are, and nothing else; nullopt: there are none. Errc::config, and the option.
[[nodiscard]] Result<std::optional<remote::Options>> redis_servers(
    const config::Settings& settings);

/// There are servers. Errors name the option. Reads the files with the passwords.
[[nodiscard]] Result<remote::Options> remote_options(const config::Settings& settings);

}  // namespace cachectl::cli
