// Options that several commands share.
#pragma once

#include <string>

#include "cli/definition.hpp"
#include "cli/session.hpp"
#include "lock/number.hpp"
#include "src/config/duration.hpp"

namespace cachectl::cli {

inline void define_timeout(Definition& definition) {
  definition.setting("--timeout", "timeout", "D", "Longest wait for the lock: 20s, 5m, never");
}

inline void define_durability(Definition& definition) {
  definition.setting("--durability", "durability", "full|none",
                     "full survives power loss; none is faster");
}

/// The value of --fd, a descriptor that the caller opened.
[[nodiscard]] inline Result<int> caller_descriptor(std::string_view text) {
  int number = -1;
  if (parse_number(text, number) && number >= 0) return number;
  return fail(Errc::usage, "--fd: '" + escaped(text) + "' is no descriptor",
              "exec 9<>ROOT/cache.lock, and --fd 9");
}

/// How long a lease is to live: the value of --lease where that is a duration.
[[nodiscard]] inline Result<std::chrono::nanoseconds> lease_duration(std::string_view text) {
  auto parsed = config::parse_duration(text);
  if (!parsed) return fail(std::move(parsed).error().within("--lease"));
  if (parsed->count() == 0) return fail(Errc::usage, "--lease: it would end at once");
  return parsed;
}

/// --lease of the commands that write.
class LeaseOption {
 public:
  void define(Definition& definition) {
    definition_ = &definition;
    definition.option("--lease", id_, "ID",
                      "Under this lease, see acquire; $CACHECTL_LEASE by default");
  }
  /// The cache, under the lease if there is one.
  [[nodiscard]] Result<const Cache*> cache(Session& session) const {
    return session.cache_under(definition_->was_given("--lease") ? &id_ : nullptr);
  }

 private:
  const Definition* definition_ = nullptr;
  std::string id_;
};

}  // namespace cachectl::cli
