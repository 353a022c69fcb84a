// Configured entries: what [entries.NAME] says, as a source and a policy.
#pragma once

#include <string>

#include "cli/session.hpp"
#include "src/refresh/coalesce.hpp"

namespace cachectl::cli {

struct Configured {
  config::EntrySettings entry;
  refresh::Source source;
  refresh::RunPolicy policy;
};

/// nullopt: the configuration says nothing of how to make this key's value.
[[nodiscard]] Result<std::optional<Configured>> find_configured(Session& session, const Key& key);

/// The policy that an entry describes, with the general settings for the rest.
[[nodiscard]] refresh::RunPolicy policy_of(const config::EntrySettings& entry,
                                           const config::Settings& settings);

/// What is stored for it, if it is of the right kind, and how old that is. Not verified; does
/// not count as a use.
struct Stored {
  store::Entry entry;
  refresh::State state;
};
[[nodiscard]] Result<std::optional<Stored>> find_stored(const Cache& cache, const Key& key,
                                                        const Configured& configured);

/// For the lock: as the command line says, else the entry, else in general.
[[nodiscard]] std::chrono::nanoseconds longest_wait(const config::EntrySettings& entry,
                                                    const config::Settings& settings);

/// Cache::run, and people see what it waits for.
[[nodiscard]] Result<refresh::RunResult> run_watched(Session& session, const Cache& cache,
                                                     const Key& key, const refresh::Source& source,
                                                     refresh::RunPolicy policy,
                                                     const refresh::Sink& sink);

/// What is stored under a key, with --verbose: "hit, 12s old, fresh for 48s", or "miss".
void tell_hit(const Session& session, const Cache& cache, const Key& key, bool is_hit);

/// Starts the refresh that a run has said is due. Last of all, so that nobody waits for it;
/// Child::ours where we end now.
void refresh_if_due(Session& session, const Cache& cache, const Key& key,
                    const refresh::Source& source, const refresh::RunPolicy& policy,
                    const refresh::RunResult& result, refresh::Child child);

/// The tree of a key: a fresh one, or one that its configured source makes now. Its other
/// output goes to standard error. `status` is not 0 where the source failed; nullopt with
/// status 0: a miss, and nothing says how to make it.
struct TreeOrStatus {
  std::optional<store::Tree> tree;
  int status = 0;
};
[[nodiscard]] Result<TreeOrStatus> tree_of(Session& session, const Key& key);

/// What a run came to: the status of the source, or 125 and a message where the value was
/// not stored, or the status of a deadline. Ends the process by the signal that interrupted it.
[[nodiscard]] Result<int> conclude(Session& session, const refresh::RunResult& result,
                                   std::string_view command);

[[nodiscard]] store::Retention retention(const config::Settings& settings);

/// What `cachectl gc` does, by the limits of the settings.
[[nodiscard]] Result<store::GcReport> collect_garbage(Session& session, store::DryRun dry_run);

}  // namespace cachectl::cli
