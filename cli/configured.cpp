#include "cli/configured.hpp"

#include <unistd.h>

#include "cli/exit_status.hpp"
#include "lock/signals.hpp"

namespace cachectl::cli {

Result<std::optional<Configured>> find_configured(Session& session, const Key& key) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  const auto found = settings->entries.find(key.bytes());
  if (found == settings->entries.end() || found->second.source.empty()) {
    return std::optional<Configured>();
  }
  const auto& entry = found->second;
  Configured configured;
  configured.entry = &entry;
  configured.source.argv = entry.command();
  configured.source.makes_tree = entry.kind == config::EntryKind::tree;
  configured.source.not_modified = entry.not_modified;
  configured.policy.ttl = entry.ttl;
  configured.policy.deadline = lock::Deadline::after(settings->timeout);
  configured.policy.durability = Session::durability(*settings);
  configured.policy.retention = retention(*settings);
  configured.policy.pass_signals = true;
  return std::optional(std::move(configured));
}

Result<TreeOrStatus> tree_of(Session& session, const Key& key) {
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  CACHECTL_ASSIGN(auto found, cache->tree(key));
  if (found) return TreeOrStatus{std::move(found), kDone};
  CACHECTL_ASSIGN(const auto configured, find_configured(session, key));
  if (!configured) return TreeOrStatus{};
  if (!configured->source.makes_tree) {
    return fail(Errc::config, "'" + key.printable() + "' is configured as bytes",
                "set kind = \"tree\" for it, or use cachectl run");
  }
  CACHECTL_ASSIGN(auto made,
                  cache->run(key, configured->source, configured->policy, {-1, STDERR_FILENO}));
  CACHECTL_ASSIGN(const int status, conclude(session, made, "path"));
  return TreeOrStatus{std::move(made.tree), status};
}

Result<int> conclude(Session& session, const refresh::RunResult& result, std::string_view command) {
  if (result.interrupted_by != 0) lock::die_by(result.interrupted_by);
  int status = result.status.value;
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
