// cachectl redis ping|stats|flush
#include <fmt/format.h>

#include <array>

#include "cli/breaker_words.hpp"
#include "cli/command.hpp"
#include "cli/counted.hpp"
#include "cli/json.hpp"
#include "cli/remote_options.hpp"
#include "src/config/nearest.hpp"
#include "src/config/size.hpp"
#include "src/remote/breaker.hpp"
#include "src/remote/server.hpp"

namespace cachectl::cli {

namespace {

using telemetry::Counter;

class RedisCommand final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("ping|stats|flush", action_, "What to do", true);
    definition.flag("--namespace", in_namespace_, "flush: yes, all that is under redis.prefix");
    definition.flag("--json", json_, "ping: a JSON object a server and line; stats: one");
    definition.footer(
        "ping   whether the server answers within the limits of the configuration, how fast, and\n"
        "       its version\n"
        "stats  how many records are under redis.prefix and how large they are (it is asked for\n"
        "       all its names, which takes a second for a million), its memory, what this cache\n"
        "       got from it, and whether this machine leaves it alone\n"
        "flush  removes all records under redis.prefix, for all machines, and says how many; what\n"
        "       others have stored stays, and so does what the machines have on disk\n"
        "Of a cluster all masters are asked, and by sentinels the one that they know.\n"
        "They ask the server also where it is left alone after failures.");
  }

  Result<int> execute(Session& session) override {
    constexpr std::array<std::string_view, 3> kActions{"ping", "stats", "flush"};
    if (std::find(kActions.begin(), kActions.end(), action_) == kActions.end()) {
      return fail(Errc::usage, "unknown action '" + escaped(action_) + "'",
                  config::did_you_mean(config::nearest(action_, kActions)));
    }
    const bool flushes = action_ == "flush";
    if (flushes && json_) return fail(Errc::usage, "flush has no --json");
    if (!flushes && in_namespace_) {
      return fail(Errc::usage, action_ + " has no --namespace", "that is for flush");
    }
    if (flushes && !in_namespace_) {
      return fail(Errc::usage, "flush removes the records of all machines: nothing was removed",
                  "say so: cachectl redis flush --namespace");
    }
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(const auto servers, redis_servers(*settings));
    if (!servers) {
      return fail(Errc::config, "no Redis server is configured",
                  "set redis.url, or seeds of a cluster or of sentinels: docs/fleet.md");
    }
    CACHECTL_ASSIGN(const auto options, remote_options(*settings));
    CACHECTL_ASSIGN(masters_, remote::masters(options));
    if (action_ == "ping") return ping(session);
    return flushes ? flush(session) : stats(session);
  }

 private:
  struct Found {
    std::string address;
    remote::ServerFacts facts;
    remote::Holdings held;
    remote::Breaker::Look breaker;
  };

  Result<int> ping(Session& session) const {
    for (const auto& master : masters_) {
      remote::Connection server(master);
      CACHECTL_ASSIGN(const auto took, remote::round_trip(server));
      // Its user may be allowed what the cache needs, and not this.
      const auto facts = remote::facts_of(server);
      if (!facts && facts.error().code != Errc::remote_refused) return fail(facts.error());
      if (json_) {
        const Json object = {{"server", escaped(server.server())},
                             {"seconds", std::chrono::duration<double>(took).count()},
                             {"version", facts ? Json(facts->version) : Json()},
                             {"role", facts ? Json(facts->role) : Json()}};
        CACHECTL_TRY(session.print(one_line(object) + "\n"));
        continue;
      }
      CACHECTL_TRY(session.print(
          fmt::format("{}: answers in {}; {}\n", escaped(server.server()), three_digits(took),
                      facts ? fmt::format("Redis {}, {}", escaped(facts->version), facts->role)
                            : "does not tell its version")));
    }
    return kDone;
  }

  Result<int> stats(Session& session) const {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_ASSIGN(const auto counted, cache->counters());
    CACHECTL_ASSIGN(const auto* root, cache->root());
    std::vector<Found> all;
    for (const auto& master : masters_) {
      remote::Connection server(master);
      auto& found = all.emplace_back();
      found.address = server.server();
      CACHECTL_ASSIGN(found.facts, remote::facts_of(server));
      CACHECTL_ASSIGN(found.held, remote::holdings(server, master.prefix));
      if (root != nullptr) {
        found.breaker = remote::Breaker::look(root->directory(), found.address);
      }
    }
    const auto total = counted ? counted->total() : telemetry::Row();
    CACHECTL_TRY(session.print(json_ ? as_json(all, total) : as_text(all, total)));
    return kDone;
  }

  [[nodiscard]] static std::string as_json(const std::vector<Found>& all,
                                           const telemetry::Row& total) {
    const auto hits = total.of(Counter::remote_hits);
    const auto asked = telemetry::sum_of(total, "remote_requests");
    Json object = {{"version", 1}, {"servers", Json::array()}};
    for (const auto& each : all) {
      object["servers"].push_back(
          {{"server", escaped(each.address)},
           {"records", each.held.records},
           {"record_bytes", each.held.bytes},
           {"memory_bytes", each.facts.memory},
           {"max_memory_bytes", each.facts.max_memory == 0 ? Json() : Json(each.facts.max_memory)},
           {"policy", escaped(each.facts.policy)},
           {"breaker", json_of(each.breaker)}});
    }
    object["requests"] = asked;
    object["hit_ratio"] =
        asked == 0 ? Json() : Json(static_cast<double>(hits) / static_cast<double>(asked));
    return one_line(object) + "\n";
  }

  [[nodiscard]] std::string as_text(const std::vector<Found>& all,
                                    const telemetry::Row& total) const {
    std::string text;
    const auto line = [&](std::string_view name, const std::string& value) {
      text += fmt::format("{:<9}{}\n", name, value);
    };
    for (const auto& each : all) {
      line("server", escaped(each.address));
      line("records",
           fmt::format("{}, {} (under '{}')", each.held.records,
                       config::format_size(each.held.bytes), escaped(masters_.front().prefix)));
      line("memory",
           config::format_size(each.facts.memory) +
               (each.facts.max_memory == 0 ? ", no limit"
                                           : " of " + config::format_size(each.facts.max_memory)) +
               ", " + escaped(each.facts.policy));
      line("breaker", text_of(each.breaker));
    }
    const auto hits = total.of(Counter::remote_hits);
    const auto asked = telemetry::sum_of(total, "remote_requests");
    line("hits", asked == 0
                     ? "nothing was asked for by this cache"
                     : fmt::format("{} of {} ({:.1f} %)", hits, asked,
                                   100 * static_cast<double>(hits) / static_cast<double>(asked)));
    return text;
  }

  Result<int> flush(Session& session) const {
    std::uint64_t removed = 0;
    for (const auto& master : masters_) {
      remote::Connection server(master);
      CACHECTL_ASSIGN(const auto here, remote::flush(server, master.prefix));
      removed += here;
    }
    CACHECTL_TRY(session.print(fmt::format("{}\n", removed)));
    return kDone;
  }

  std::vector<remote::Options> masters_;
  std::string action_;
  bool in_namespace_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_redis() { return std::make_unique<RedisCommand>(); }

}  // namespace cachectl::cli
