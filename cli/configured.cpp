#include "cli/configured.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/exit_status.hpp"
#include "cli/watching.hpp"
#include "lock/signals.hpp"
#include "src/config/duration.hpp"
#include "src/config/size.hpp"

namespace cachectl::cli {

namespace {

/// What the command line says counts for all keys.
bool is_flag(const config::Settings& settings, std::string_view option) {
  return settings.origin_of(*config::find_option(option)).layer == config::Layer::flag;
}

/// Set for a source, so that one which asks for its own value is told, instead of running
/// itself inside itself.
bool is_own_source(const Key& key) {
  const char* running = ::getenv("CACHECTL_KEY");
  const char* lock = ::getenv("CACHECTL_LOCK");
  return running != nullptr && lock != nullptr && *lock != '\0' && key.bytes() == running;
}

}  // namespace

std::chrono::nanoseconds longest_wait(const config::EntrySettings& entry,
                                      const config::Settings& settings) {
  return entry.timeout && !is_flag(settings, "timeout") ? *entry.timeout : settings.timeout;
}

refresh::RunPolicy policy_of(const config::EntrySettings& entry, const config::Settings& settings) {
  refresh::RunPolicy policy;
  auto& windows = policy.windows;
  windows.ttl = entry.ttl;
  windows.ttl_by_status = entry.ttl_by_status;
  windows.stale_while_revalidate = entry.stale_while_revalidate;
  windows.stale_if_error = entry.stale_if_error;
  windows.expire_after_access = entry.expire_after_access;
  windows.jitter = entry.jitter;
  windows.beta = entry.beta;
  windows.refresh_threshold = entry.refresh_threshold;
  windows.refresh_probability = entry.refresh_probability;
  auto& failure = policy.failure;
  failure.on_error = entry.on_error;
  failure.empty_is_failure = entry.empty == config::EmptyOutput::error;
  failure.retries = entry.retries;
  failure.retry_delay = entry.retry_delay;
  failure.breaker_failures = entry.breaker_failures;
  failure.breaker_cool_down = entry.breaker_cool_down;
  policy.coordination = entry.coordination;
  policy.deadline = lock::Deadline::after(longest_wait(entry, settings));
  policy.durability = Session::durability(settings);
  if (entry.durable && !is_flag(settings, "durability")) {
    policy.durability = *entry.durable ? lock::Durability::full : lock::Durability::none;
  }
  policy.retention = retention(settings);
  policy.pass_signals = true;
  return policy;
}

Result<std::optional<Configured>> find_configured(Session& session, const Key& key) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  auto entry = settings->entry(key.bytes());
  if (!entry || entry->source.empty()) return std::optional<Configured>();
  if (config::is_pattern(key.bytes()) && settings->entries.contains(key.bytes())) {
    return fail(Errc::usage, "'" + key.printable() + "' is a pattern of the configuration",
                "name a key that it matches");
  }
  if (is_own_source(key)) {
    return fail(Errc::usage,
                "the source of '" + key.printable() + "' asks for '" + key.printable() + "' itself",
                "$CACHECTL_PREVIOUS has the last value of a tree");
  }
  Configured configured;
  auto& source = configured.source;
  source.argv = entry->command();
  for (const auto& [name, value] : entry->environment) {
    source.environment.push_back(fmt::format("{}={}", name, value));
  }
  source.directory = entry->directory;
  source.makes_tree = entry->kind == config::EntryKind::tree;
  source.not_modified = entry->not_modified;
  source.longest = entry->source_timeout;
  configured.policy = policy_of(*entry, *settings);
  configured.entry = std::move(*entry);
  return std::optional(std::move(configured));
}

Result<std::optional<Stored>> find_stored(const Cache& cache, const Key& key,
                                          const Configured& configured) {
  CACHECTL_ASSIGN(auto found, cache.inspect(key));
  if (!found.entry || found.entry->header().kind != configured.source.kind()) {
    return std::optional<Stored>();
  }
  const auto state = refresh::state_of(found.entry->header(), found.entry->last_used(),
                                       configured.policy.windows, cache.clock().now());
  return std::optional(Stored{std::move(*found.entry), state});
}

void refresh_if_due(Session& session, const Cache& cache, const Key& key,
                    const refresh::Source& source, const refresh::RunPolicy& policy,
                    const refresh::RunResult& result, refresh::Child child) {
  if (!result.refresh_due) return;
  auto started = cache.refresh_behind(key, source, policy, result.generation, child);
  if (started || refresh::can_do_without(started.error())) return;
  session.warn(std::move(started).error().within("the value was not refreshed"));
}

namespace {

/// "12s old, fresh for another 48s".
std::string age_of(const store::RecordHeader& header, WallTime now) {
  auto text = config::format_duration(now - header.created) + " old";
  if (header.expires == kNever) return text;
  return text + (now < header.expires ? ", fresh for " : ", expired ") +
         config::format_duration(now < header.expires ? header.expires - now
                                                      : now - header.expires) +
         (now < header.expires ? "" : " ago");
}

/// After the fact, from the record: nobody pays for it but who asks.
std::string age_of(const Cache& cache, const Key& key) {
  const auto found = cache.inspect(key);
  if (!found || !found->entry) return "gone since";
  return age_of(found->entry->header(), cache.clock().now());
}

void tell_run(const Session& session, const Cache& cache, const Key& key,
              const refresh::RunResult& result) {
  const auto tell = [&](const std::string& what) {
    session.tell(config::LogLevel::info, "'" + key.printable() + "': " + what);
  };
  switch (result.how) {
    case refresh::How::hit:
      return tell("hit, " + age_of(cache, key));
    case refresh::How::stale:
      return tell("stale, " + age_of(cache, key) +
                  (result.refresh_due ? "; it is made anew behind this" : ""));
    case refresh::How::shared:
      return tell("shared the result of a run that others had started");
    case refresh::How::uncached:
      return tell("ran, with no cache");
    case refresh::How::ran:
      break;
  }
  const auto found = cache.inspect(key);
  const bool is_stored =
      found && found->entry && found->entry->header().generation == result.generation;
  if (!is_stored) {
    return tell(fmt::format("ran, exit status {}; not stored", result.status.value));
  }
  const auto& header = found->entry->header();
  tell(fmt::format("ran for {}; stored generation {}, {}, {}",
                   config::format_duration(header.source_duration), header.generation,
                   config::format_size(header.value_size()), age_of(header, cache.clock().now())));
}

}  // namespace

void tell_hit(const Session& session, const Cache& cache, const Key& key, bool is_hit) {
  if (!session.says(config::LogLevel::info)) return;
  session.tell(config::LogLevel::info,
               "'" + key.printable() + "': " + (is_hit ? "hit, " + age_of(cache, key) : "miss"));
}

Result<refresh::RunResult> run_watched(Session& session, const Cache& cache, const Key& key,
                                       const refresh::Source& source, refresh::RunPolicy policy,
                                       const refresh::Sink& sink) {
  Watching watching(session, cache, &key);
  policy.deadline = watching.watched(policy.deadline);
  auto result = cache.run(key, source, policy, watching.watched(sink));
  if (result && session.says(config::LogLevel::info)) tell_run(session, cache, key, *result);
  return result;
}

Result<TreeOrStatus> tree_of(Session& session, const Key& key) {
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(const auto configured, find_configured(session, key));
  if (!configured) {
    CACHECTL_ASSIGN(auto found, cache->tree(key));
    return TreeOrStatus{std::move(found), kDone};
  }
  const auto& [entry, source, policy] = *configured;
  if (!source.makes_tree) {
    return fail(Errc::config, "'" + key.printable() + "' is configured as bytes",
                "set kind = \"tree\" for it, or use cachectl get");
  }
  CACHECTL_ASSIGN(auto made,
                  run_watched(session, *cache, key, source, policy, {-1, STDERR_FILENO}));
  refresh_if_due(session, *cache, key, source, policy, made, refresh::Child::orphan);
  CACHECTL_ASSIGN(const int status, conclude(session, made, "path"));
  return TreeOrStatus{std::move(made.tree), status};
}

Result<int> conclude(Session& session, const refresh::RunResult& result, std::string_view command) {
  if (result.interrupted_by != 0) lock::die_by(result.interrupted_by);
  int status = result.status.value;
  if (result.source_failed && result.how == refresh::How::stale) {
    session.warn(*result.source_failed);
  } else if (result.source_failed) {
    auto why = *result.source_failed;
    const bool is_timeout = why.code == Errc::timeout;
    const int failed = session.report(std::move(why).within(std::string(command)));
    if (is_timeout) status = failed;
  }
  if (result.not_stored) {
    auto why = *result.not_stored;
    const int failed =
        session.report(std::move(why).within(std::string(command) + ": the value was not stored"));
    if (status == kDone) status = failed;
  }
  if (result.not_passed_on) return fail(*result.not_passed_on);
  return status;
}

store::Retention retention(const config::Settings& settings) {
  return {settings.trees_retain, settings.trees_retain_for};
}

}  // namespace cachectl::cli
