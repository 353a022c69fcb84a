#include "cli/get_ahead.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string_view>
#include <vector>

#include "cli/configured.hpp"
#include "cli/exit_status.hpp"
#include "cli/jobs.hpp"
#include "src/store/copy.hpp"

namespace cachectl::cli {

namespace {

/// Its output found no room in the cache: it is made once more, straight to where it is to go.
constexpr auto kAgain = "again";

struct Missing {
  Key key;
  Configured configured;
  std::chrono::nanoseconds longest_wait;
  MadeAhead made;
};

/// In a process of its own. What went wrong has been said when it returns.
lock::WorkReport make(Session& session, const Cache& cache, const Missing& missing) {
  auto policy = missing.configured.policy;
  policy.deadline = lock::Deadline::after(missing.longest_wait);  // its turn has come only now
  const auto& output = missing.made.output;
  const refresh::Sink sink{output ? output->descriptor() : -1, STDERR_FILENO};
  const auto what = "get: '" + missing.key.printable() + "'";
  lock::WorkReport report{kDone, "0"};
  auto result = run_watched(session, cache, missing.key, missing.configured.source, policy, sink);
  if (!result) {
    report.status = session.report(std::move(result).error().within(what));
    return report;
  }
  if (result->not_passed_on) return {kDone, kAgain};
  auto concluded = conclude(session, *result, what);
  report.status =
      concluded ? *concluded : session.report(std::move(concluded).error().within(what));
  report.text = std::to_string(result->generation);
  return report;
}

/// The keys that are to be made, each once.
Result<std::vector<Missing>> find_missing(Session& session, const Cache& cache,
                                          std::span<const Key> keys) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  std::vector<Missing> missing;
  std::set<std::string_view> seen;
  for (const auto& key : keys) {
    if (!seen.insert(key.bytes()).second) continue;
    CACHECTL_ASSIGN(auto configured, find_configured(session, key));
    if (!configured || configured->source.makes_tree) continue;
    CACHECTL_ASSIGN(const auto stored, find_stored(cache, key, *configured));
    if (stored && stored->state != refresh::State::expired) continue;
    const auto longest = longest_wait(configured->entry, *settings);
    missing.push_back({key, std::move(*configured), longest, {}});
  }
  return missing;
}

}  // namespace

Result<void> MadeAhead::write_to(int descriptor, std::string_view name) const {
  if (!output) return {};
  CACHECTL_ASSIGN(const struct stat file,
                  lock::status_of(output->descriptor(), "output of the source"));
  return store::copy_range(output->descriptor(), 0, static_cast<std::uint64_t>(file.st_size),
                           descriptor, "output of the source", name);
}

Result<std::map<std::string, MadeAhead>> get_ahead(Session& session, const Cache& cache,
                                                   std::span<const Key> keys, std::size_t most,
                                                   bool wants_output) {
  std::map<std::string, MadeAhead> made;
  CACHECTL_ASSIGN(auto missing, find_missing(session, cache, keys));
  if (missing.size() < 2) return made;
  if (wants_output) {
    for (auto& one : missing) {
      auto file = cache.scratch();
      // A cache that cannot be written: all in their turn, straight to standard output.
      if (!file && refresh::can_do_without(file.error())) return made;
      if (!file) return fail(std::move(file).error());
      one.made.output.emplace(std::move(*file));
    }
  }
  std::vector<Job> jobs;
  for (const auto& one : missing) {
    jobs.push_back({one.key.printable(), [&session, &cache, &one](const SharedLine& line) {
                      session.share_line(line);
                      return make(session, cache, one);
                    }});
  }
  CACHECTL_ASSIGN(const auto ends, run_jobs(jobs, most, session.says(config::LogLevel::notice)));
  for (std::size_t index = 0; index < ends.size(); ++index) {
    auto& one = missing[index].made;
    const auto& end = ends[index];
    one.status = end.status.value;
    if (end.message == kAgain) continue;
    if (end.message.empty()) {
      one.output.reset();
      static_cast<void>(
          session.report({Errc::io,
                          0,
                          "get: '" + missing[index].key.printable() +
                              "': its process ended with status " + std::to_string(one.status),
                          {}}));
    } else {
      one.is_stored = end.message != "0";
    }
    made.emplace(missing[index].key.bytes(), std::move(one));
  }
  return made;
}

}  // namespace cachectl::cli
