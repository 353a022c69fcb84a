#include "cli/remote_options.hpp"

#include <stdlib.h>

#include <algorithm>

namespace cachectl::cli {

namespace {

tl::unexpected<Error> wrong(const char* option, Error why) {
  why.code = Errc::config;
  return fail(std::move(why).within(option));
}

Result<std::vector<remote::Address>> seeds_in(const char* option, std::string_view text,
                                              std::uint16_t port) {
  std::vector<remote::Address> seeds;
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    auto seed = remote::parse_host_and_port(text.substr(0, end), port);
    if (!seed) return wrong(option, std::move(seed).error());
    seeds.push_back(std::move(*seed));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return seeds;
}

/// Of the password, which comes before the file.
const char* password_variable() {
  const char* text = ::getenv("CACHECTL_REDIS_PASSWORD");
  return text != nullptr && *text != '\0' ? text : nullptr;
}

Result<std::string> password_in(const char* option, const std::string& file) {
  if (file.empty()) return std::string();
  auto read = remote::read_password(file);
  if (!read) return fail(std::move(read).error().within(option));
  return read;
}

}  // namespace

Result<std::optional<remote::Options>> redis_servers(const config::Settings& settings) {
  remote::Options options;
  const int ways = (settings.redis_url.empty() ? 0 : 1) +
                   (settings.redis_cluster_seeds.empty() ? 0 : 1) +
                   (settings.redis_sentinel_seeds.empty() ? 0 : 1);
  if (ways == 0) return std::optional<remote::Options>();
  if (ways > 1) {
    return fail(Errc::config,
                "redis.url, redis.cluster.seeds, redis.sentinel.seeds: more than one is set",
                "leave one, and set the others to \"\"");
  }
  if (!settings.redis_url.empty()) {
    auto server = remote::parse_url(settings.redis_url);
    if (!server) return wrong("redis.url", std::move(server).error());
    options.server = std::move(*server);
  } else if (!settings.redis_cluster_seeds.empty()) {
    options.topology = remote::Topology::cluster;
    CACHECTL_ASSIGN(options.seeds,
                    seeds_in("redis.cluster.seeds", settings.redis_cluster_seeds, 6379));
  } else {
    options.topology = remote::Topology::sentinel;
    CACHECTL_ASSIGN(options.seeds,
                    seeds_in("redis.sentinel.seeds", settings.redis_sentinel_seeds, 26379));
    options.master = settings.redis_sentinel_name;
  }
  const bool in_url = !options.server.user.empty();
  if (!in_url) options.server.user = settings.redis_user;
  const bool is_other = !options.server.user.empty() && options.server.user != "default";
  if (is_other && settings.redis_password_file.empty() && password_variable() == nullptr) {
    // Without a password there is no way to say who we are: we would be the default user.
    return fail(Errc::config,
                std::string(in_url ? "redis.url" : "redis.user") +
                    ": it names a user, and there is no password to log in with",
                "set redis.password-file or $CACHECTL_REDIS_PASSWORD (any, where the user needs "
                "none), or name no user");
  }
  return options;
}

Result<remote::Options> remote_options(const config::Settings& settings) {
  CACHECTL_ASSIGN(auto servers, redis_servers(settings));
  auto options = std::move(servers).value_or(remote::Options());
  if (const char* password = password_variable(); password != nullptr) {
    options.password = password;
  } else {
    CACHECTL_ASSIGN(options.password,
                    password_in("redis.password-file", settings.redis_password_file));
  }
  CACHECTL_ASSIGN(options.sentinel_password, password_in("redis.sentinel.password-file",
                                                         settings.redis_sentinel_password_file));
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
