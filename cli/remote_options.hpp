// The section [redis] of the configuration, as the remote tier takes it.
#pragma once

#include <optional>

#include "src/config/settings.hpp"
#include "src/remote/options.hpp"

namespace cachectl::cli {

/// The server; nullopt: there is none. Errc::config: redis.url is no URL of one.
[[nodiscard]] Result<std::optional<remote::Address>> redis_server(const config::Settings& settings);

/// redis.url is set. Errors name the option. Reads the file with the password.
[[nodiscard]] Result<remote::Options> remote_options(const config::Settings& settings);

}  // namespace cachectl::cli
