#include "src/remote/failure.hpp"

#include "src/key.hpp"

namespace cachectl::remote {

namespace {

struct Word {
  std::string_view word;
  Errc code;
  std::string_view advice;
};

/// The first word of an error reply says what it is.
constexpr Word kWords[] = {
    {"OOM", Errc::remote_full, "raise its maxmemory, or set a maxmemory-policy that evicts"},
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
  Error error{Errc::remote_refused,
              0,
              std::string(who) + ": it answers " + escaped(reply.substr(0, kShown)),
              {}};
  const auto word = reply.substr(0, reply.find(' '));
  for (const auto& known : kWords) {
    if (known.word != word) continue;
    error.code = known.code;
    error.advice = known.advice;
  }
  return error;
}

}  // namespace cachectl::remote
