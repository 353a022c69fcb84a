#include "src/remote/failure.hpp"

#include <algorithm>

#include "src/key.hpp"

namespace cachectl::remote {

namespace {

struct Start {
  std::string_view start;
  Errc code;
  std::string_view advice;
};

/// The first word of an error reply says what it is, or the first few of them.
constexpr Start kStarts[] = {
    {"OOM", Errc::remote_full, "raise its maxmemory, or set a maxmemory-policy that evicts"},
    {"ERR DB index is out of range", Errc::remote_refused,
     "the server has fewer databases: choose a lower number in redis.url, or raise \"databases\" "
     "there"},
    {"LOADING", Errc::unreachable, ""},
    {"BUSY", Errc::unreachable, ""},
    {"MASTERDOWN", Errc::unreachable, ""},
    {"NOAUTH", Errc::remote_refused, "set redis.password-file or $CACHECTL_REDIS_PASSWORD"},
    {"WRONGPASS", Errc::remote_refused,
     "check redis.user, and redis.password-file or $CACHECTL_REDIS_PASSWORD"},
    {"NOPERM", Errc::remote_refused, "give the user the commands that docs/fleet.md lists"},
    {"CLUSTERDOWN", Errc::unreachable, ""},
    {"UNBLOCKED", Errc::unreachable, ""},
    {"READONLY", Errc::remote_refused, "name the primary server in redis.url"},
    {"MOVED", Errc::remote_refused,
     "of a cluster, set redis.cluster.seeds in place of redis.url; its slots may be on the move"},
    {"WRONGTYPE", Errc::remote_refused, "something else uses our keys: set redis.prefix"},
};

constexpr std::size_t kShown = 200;

/// Without where in our script the server was: nobody can use that.
std::string_view without_place(std::string_view reply) {
  const auto place = reply.rfind(" script: ");
  if (place == std::string_view::npos) return reply;
  return reply.substr(place).find("@user_script") == std::string_view::npos
             ? reply
             : reply.substr(0, place);
}

}  // namespace

std::optional<Kind> kind_of(const Error& error) {
  switch (error.code) {
    case Errc::unreachable:
    case Errc::left_alone:
      return Kind::connection;
    case Errc::corrupt:
      return Kind::serialization;
    case Errc::remote_full:
      return Kind::memory;
    case Errc::remote_refused:
      return Kind::cache;
    default:
      return std::nullopt;
  }
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::connection:
      return "connection";
    case Kind::serialization:
      return "serialization";
    case Kind::memory:
      return "memory";
    case Kind::cache:
      return "cache";
  }
  return "";
}

Error refusal(std::string_view who, std::string_view reply) {
  reply = without_place(reply);
  Error error{Errc::remote_refused,
              0,
              std::string(who) + ": it answers " + escaped(reply.substr(0, kShown)),
              {}};
  for (const auto& known : kStarts) {
    const auto rest = reply.substr(std::min(known.start.size(), reply.size()));
    if (!reply.starts_with(known.start) || !(rest.empty() || rest.front() == ' ')) continue;
    error.code = known.code;
    error.advice = known.advice;
  }
  return error;
}

}  // namespace cachectl::remote
