#include "cli/batch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>
#include <set>

#include "cli/exit_status.hpp"
#include "cli/jobs.hpp"
#include "cli/json.hpp"

namespace cachectl::cli {

namespace {

using Outcome = Batch::Outcome;
constexpr std::array<const char*, 5> kOutcomes{"refreshed", "fresh", "shared", "stale", "failed"};

Outcome outcome_of(refresh::How how) {
  switch (how) {
    case refresh::How::hit:
      return Outcome::fresh;
    case refresh::How::stale:
      return Outcome::stale;
    case refresh::How::shared:
      return Outcome::shared;
    case refresh::How::ran:
      return Outcome::refreshed;
    case refresh::How::uncached:
      break;
  }
  return Outcome::failed;
}

/// What a value is to a batch that leaves fresh ones alone.
struct Verdict {
  bool is_fresh = false;
  bool is_due = true;  ///< maybe though it is fresh
  store::Generation generation = 0;
};

/// Does not count as a use of the value.
Result<Verdict> judge(const Cache& cache, const Key& key, const Configured& configured,
                      const LeaveFresh& leave) {
  Verdict verdict;
  CACHECTL_ASSIGN(auto stored, find_stored(cache, key, configured));
  if (!stored || stored->state != refresh::State::fresh) return verdict;
  // Readers would find damage, and make it then.
  if (!configured.source.makes_tree && !stored->entry.verify()) return verdict;
  const auto& header = stored->entry.header();
  auto windows = configured.policy.windows;
  windows.beta = 0;
  windows.refresh_threshold = leave.threshold;
  windows.refresh_probability = leave.probability;
  verdict.is_fresh = true;
  verdict.is_due = refresh::refreshes_early(header, windows, cache.clock().now(), refresh::draw());
  verdict.generation = header.generation;
  return verdict;
}

}  // namespace

struct Batch::Made {
  Outcome outcome = Outcome::failed;
  int status = kDone;
  store::Generation generation = 0;
  std::string error;  ///< printable; of a stale value too
  std::chrono::nanoseconds took{0};

  /// From the process that made it.
  [[nodiscard]] std::string encode() const {
    Json object;
    object["outcome"] = static_cast<int>(outcome);
    object["generation"] = generation;
    object["error"] = error;
    return one_line(object);
  }
  static Made decode(const std::string& text, int status) {
    const auto object = Json::parse(text);
    return {static_cast<Outcome>(object["outcome"].get<int>()), status,
            object["generation"].get<store::Generation>(), object["error"].get<std::string>()};
  }
};

struct Batch::Asked {
  Key key;
  Configured configured;
  std::chrono::nanoseconds longest_wait;
  Made made;
};

void Batch::define(Definition& definition) {
  jobs_.define(definition);
  definition.flag("--json", json_, "Say what came of each key, one JSON object a line");
  define_timeout(definition);
  define_durability(definition);
  lease_.define(definition);
}

Result<std::vector<Batch::Asked>> Batch::look_up(Session& session,
                                                 const std::vector<std::string>& names) const {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  std::vector<Asked> asked;
  std::set<std::string> known;
  for (const auto& name : names) {
    if (!known.insert(name).second) continue;
    CACHECTL_ASSIGN(Key key, Key::from(name));
    CACHECTL_ASSIGN(auto configured, find_configured(session, key));
    if (!configured) {
      return fail(Errc::config, "no source is configured for '" + key.printable() + "'",
                  "add [entries." + key.printable() + "] with a source; see cachectl config path");
    }
    const auto longest_wait = cli::longest_wait(configured->entry, *settings);
    asked.push_back({std::move(key), std::move(*configured), longest_wait, {}});
  }
  return asked;
}

/// Here and now. What went wrong has been said when it returns.
Batch::Made Batch::make(Session& session, const Cache& cache, const Asked& asked,
                        bool alone) const {
  const auto what = alone ? command_ : command_ + ": '" + asked.key.printable() + "'";
  const auto& [entry, source, configured_policy] = asked.configured;
  auto policy = configured_policy;
  policy.deadline = lock::Deadline::after(asked.longest_wait);  // from now on, not from the start
  Made made;
  const auto failed = [&](Error why) {
    made.outcome = Outcome::failed;
    made.error = escaped(why.describe());
    made.status = session.report(std::move(why).within(what));
    return made;
  };
  auto result = run_watched(session, cache, asked.key, source, policy, {-1, STDERR_FILENO});
  if (!result) return failed(std::move(result).error());
  const auto concluded = conclude(session, *result, what);
  if (!concluded) return failed(concluded.error());
  if (*concluded == kDone && result->how == refresh::How::uncached) {
    return failed({Errc::read_only, 0, "the value was not stored", {}});
  }
  made.status = *concluded;
  made.generation = result->generation;
  made.outcome = made.status == kDone ? outcome_of(result->how) : Outcome::failed;
  if (result->source_failed) {
    made.error = escaped(result->source_failed->describe());
  } else if (result->not_stored) {
    made.error = escaped("the value was not stored: " + result->not_stored->describe());
  } else if (made.status != kDone) {
    made.error = "the source failed with status " + std::to_string(made.status);
    static_cast<void>(session.report({Errc::io, 0, what + ": " + made.error, {}}));
  }
  return made;
}

Result<void> Batch::make_all(Session& session, const Cache& cache,
                             std::vector<Asked>& asked) const {
  CACHECTL_ASSIGN(const std::size_t most, jobs_.most());
  std::vector<Asked*> due;
  for (auto& one : asked) {
    if (one.made.outcome != Outcome::fresh) due.push_back(&one);
  }
  if (asked.size() == 1 && !due.empty()) {
    const auto start = std::chrono::steady_clock::now();
    due[0]->made = make(session, cache, *due[0], true);
    due[0]->made.took = std::chrono::steady_clock::now() - start;
    return {};
  }
  std::vector<Job> jobs;
  jobs.reserve(due.size());
  for (const auto* one : due) {
    jobs.push_back({one->key.printable(), [this, &session, &cache, one](const SharedLine& line) {
                      session.share_line(line);
                      const auto made = make(session, cache, *one, false);
                      return lock::WorkReport{made.status, made.encode()};
                    }});
  }
  CACHECTL_ASSIGN(const auto ends, run_jobs(jobs, most, session.says(config::LogLevel::notice)));
  for (std::size_t index = 0; index < due.size(); ++index) {
    auto& made = due[index]->made;
    const auto& end = ends[index];
    if (end.message.empty()) {
      made.status = end.status.value;
      made.error = end.status.by_signal()
                       ? "its process was ended by signal " + std::to_string(end.status.signal)
                       : "its process failed";
      const auto what = command_ + ": '" + due[index]->key.printable() + "': ";
      static_cast<void>(session.report({Errc::io, 0, what + made.error, {}}));
    } else {
      made = Made::decode(end.message, end.status.value);
    }
    made.took = end.took;
  }
  return {};
}

/// "refreshed 3, fresh 1, failed 1".
void Batch::sum_up(const Session& session, const std::vector<Asked>& asked) const {
  std::array<std::size_t, kOutcomes.size()> counts{};
  for (const auto& one : asked) ++counts[static_cast<std::size_t>(one.made.outcome)];
  std::string text;
  for (std::size_t index = 0; index < counts.size(); ++index) {
    if (counts[index] == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", kOutcomes[index], counts[index]);
  }
  session.tell(command_ + ": " + text);
}

Result<int> Batch::run(Session& session, const std::vector<std::string>& names,
                       const LeaveFresh* leave) const {
  CACHECTL_ASSIGN(auto asked, look_up(session, names));
  CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));
  for (auto& one : asked) {
    auto& policy = one.configured.policy;
    policy.force = leave == nullptr;
    if (leave == nullptr) continue;
    policy.stale_is_expired = true;
    CACHECTL_ASSIGN(const Verdict verdict, judge(*cache, one.key, one.configured, *leave));
    policy.force = verdict.is_fresh;
    if (!verdict.is_due) one.made = {Outcome::fresh, kDone, verdict.generation, {}};
  }
  CACHECTL_TRY(make_all(session, *cache, asked));
  int status = kDone;
  for (const auto& one : asked) {
    const auto& made = one.made;
    if (made.outcome == Outcome::failed) status = made.status;
    if (!json_) continue;
    Json object;
    put_bytes(object, "key", one.key.bytes());
    object["outcome"] = kOutcomes[static_cast<std::size_t>(made.outcome)];
    object["status"] = made.status;
    object["seconds"] = std::chrono::duration<double>(made.took).count();
    object["generation"] = made.outcome == Outcome::failed ? Json() : Json(made.generation);
    object["error"] = made.error.empty() ? Json() : Json(made.error);
    CACHECTL_TRY(session.print(one_line(object) + "\n"));
  }
  if (asked.size() > 1) sum_up(session, asked);
  return status;
}

}  // namespace cachectl::cli
