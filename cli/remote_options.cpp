#include "cli/remote_options.hpp"

#include <stdlib.h>

namespace cachectl::cli {

Result<std::optional<remote::Address>> redis_server(const config::Settings& settings) {
  if (settings.redis_url.empty()) return std::optional<remote::Address>();
  auto server = remote::parse_url(settings.redis_url);
  if (server) return std::optional(std::move(*server));
  auto why = std::move(server).error().within("redis.url");
  why.code = Errc::config;
  return fail(std::move(why));
}

Result<remote::Options> remote_options(const config::Settings& settings) {
  remote::Options options;
  CACHECTL_ASSIGN(auto server, redis_server(settings));
  if (server) options.server = std::move(*server);
  if (options.server.user.empty()) options.server.user = settings.redis_user;
  const char* password = ::getenv("CACHECTL_REDIS_PASSWORD");
  if (password != nullptr && *password != '\0') {
    options.password = password;
  } else if (!settings.redis_password_file.empty()) {
    auto read = remote::read_password(settings.redis_password_file);
    if (!read) return fail(std::move(read).error().within("redis.password-file"));
    options.password = std::move(*read);
  }
  options.prefix = settings.redis_prefix;
  options.pool_size = settings.redis_pool_size;
  options.min_idle = settings.redis_min_idle;
  options.connect_timeout = settings.redis_connect_timeout;
  options.read_timeout = settings.redis_read_timeout;
  options.write_timeout = settings.redis_write_timeout;
  options.compress_above = settings.redis_compress_above;
  return options;
}

}  // namespace cachectl::cli
