// cachectl get KEY... [--json] [--jobs N]
#include <unistd.h>

#include <algorithm>
#include <map>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/get_ahead.hpp"
#include "cli/jobs_option.hpp"
#include "cli/json.hpp"
#include "cli/tier_option.hpp"
#include "cli/wait_options.hpp"

namespace cachectl::cli {

namespace {

class Get final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("KEY", keys_, "The keys; their values are printed one after another",
                           true);
    definition.flag("--json", json_, "One JSON object a key and line");
    tier_.define(definition);
    jobs_.define(definition);
    define_timeout(definition);
    definition.footer(
        "Exit status 1 when a key has no fresh value and no configured source. Reads take no\n"
        "lock. Where [entries.KEY] has a source, a miss runs it, as run does, and a stale value\n"
        "is served at once and made anew behind that. Several that miss are made side by side,\n"
        "and all printed in the order of the keys. A failure that run was told to store is a\n"
        "value like any other; its exit status is in --json.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    std::vector<Key> keys;
    bool may_make = false;
    for (const auto& bytes : keys_) {
      CACHECTL_ASSIGN(Key key, Key::from(bytes));
      may_make = may_make || !config::section_of_key(settings->entries, bytes).empty();
      keys.push_back(std::move(key));
    }
    CACHECTL_ASSIGN(const bool is_remote, tier_.is_remote(session));
    if (is_remote) return get_remote(session, keys);
    // What only reads needs no lease, also where one is lost.
    CACHECTL_ASSIGN(const Cache* cache, may_make ? session.cache_under(nullptr) : session.cache());
    CACHECTL_ASSIGN(const std::size_t most, jobs_.most());
    int status = kDone;
    for (std::size_t at = 0; at < keys.size(); at += kAtOnce) {
      const auto part = std::span(keys).subspan(at, std::min(kAtOnce, keys.size() - at));
      if (part.size() > 1) {
        CACHECTL_ASSIGN(made_, get_ahead(session, *cache, part, most, !json_));
      }
      for (const auto& key : part) {
        CACHECTL_ASSIGN(const int got, get(session, *cache, key));
        if (got != kDone) status = got;
      }
    }
    // Behind the answers: nobody is to wait for a refresh.
    for (const auto& [key, asked, result] : answered_) {
      refresh_if_due(session, *cache, key, asked.source, asked.policy, result,
                     refresh::Child::ours);
    }
    return status;
  }

 private:
  /// Each may have an open file.
  static constexpr std::size_t kAtOnce = 256;

  Result<int> get(Session& session, const Cache& cache, const Key& key) {
    session.concern(key);
    if (const auto made = made_.find(key.bytes()); made != made_.end()) {
      return print_made(session, cache, key, made->second);
    }
    CACHECTL_ASSIGN(auto configured, find_configured(session, key));
    if (configured && configured->source.makes_tree) {
      return fail(Errc::usage,
                  "the value of '" + key.printable() + "' is configured as a file or directory",
                  "find it with: cachectl path");
    }
    if (configured) {
      const refresh::Sink sink{json_ ? -1 : STDOUT_FILENO, STDERR_FILENO};
      CACHECTL_ASSIGN(auto result, run_watched(session, cache, key, configured->source,
                                               configured->policy, sink));
      CACHECTL_ASSIGN(const int status, conclude(session, result, "get"));
      if (json_) {
        CACHECTL_ASSIGN(auto stored, cache.inspect(key));
        if (status != kDone || result.generation == 0) stored.entry.reset();
        CACHECTL_TRY(print_json(session, cache, key, stored.entry));
      }
      if (result.refresh_due) {
        answered_.push_back({key, std::move(*configured), std::move(result)});
      }
      return status;
    }
    if (!json_) {
      CACHECTL_ASSIGN(const bool hit, cache.get_to(key, STDOUT_FILENO, "standard output"));
      tell_hit(session, cache, key, hit);
      return hit ? kDone : kNo;
    }
    CACHECTL_ASSIGN(const auto entry, cache.get(key));
    CACHECTL_TRY(print_json(session, cache, key, entry));
    tell_hit(session, cache, key, entry.has_value());
    return entry ? kDone : kNo;
  }

  Result<int> get_remote(Session& session, const std::vector<Key>& keys) const {
    if (json_) return fail(Errc::usage, "--json and --tier redis exclude each other");
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    int status = kDone;
    for (const auto& key : keys) {
      CACHECTL_ASSIGN(const bool hit, cache->get_remote_to(key, STDOUT_FILENO, "standard output"));
      if (!hit) status = kNo;
    }
    return status;
  }

  Result<int> print_made(Session& session, const Cache& cache, const Key& key,
                         const MadeAhead& made) const {
    if (!json_) {
      CACHECTL_TRY(made.write_to(STDOUT_FILENO, "standard output"));
      return made.status;
    }
    CACHECTL_ASSIGN(auto stored, cache.inspect(key));
    if (made.status != kDone || !made.is_stored) stored.entry.reset();
    CACHECTL_TRY(print_json(session, cache, key, stored.entry));
    return made.status;
  }

  static Result<void> print_json(Session& session, const Cache& cache, const Key& key,
                                 const std::optional<store::Entry>& entry) {
    Json object;
    put_bytes(object, "key", key.bytes());
    object["hit"] = entry.has_value();
    if (entry) {
      put_header(object, entry->header(), cache.clock().now());
      CACHECTL_ASSIGN(const std::string value, entry->read(store::Stream::output));
      put_bytes(object, "value", value);
    }
    return session.print(one_line(object) + "\n");
  }

  struct Answered {
    Key key;
    Configured asked;
    refresh::RunResult result;
  };

  std::vector<std::string> keys_;
  std::vector<Answered> answered_;
  std::map<std::string, MadeAhead> made_;
  JobsOption jobs_;
  TierOption tier_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_get() { return std::make_unique<Get>(); }

}  // namespace cachectl::cli
