// cachectl gc [--dry-run] [--json] [--max-size S] [--max-entries N] [--time-limit D]
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/json.hpp"
#include "src/config/size.hpp"
#include "src/telemetry/event_log.hpp"

namespace cachectl::cli {

namespace {

class Gc final : public Command {
 public:
  void define(Definition& definition) override {
    definition.flag("-n,--dry-run", dry_run_, "Say what would go, and keep it");
    definition.flag("--json", json_, "Report as a JSON object");
    definition.setting("--max-size", "gc.max-size", "SIZE",
                       "Evict the least recently used until this is enough: 500M, 10G");
    definition.setting("--max-entries", "gc.max-entries", "N", "The same by number");
    definition.setting("--time-limit", "gc.time-limit", "D", "Stop after this long: 10s");
    definition.footer(
        "Removes expired entries, and what dead processes left in tmp/ (by their lock, never\n"
        "by age). Safe beside everything else that uses the cache.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const auto report,
                    collect_garbage(session, dry_run_ ? store::DryRun::yes : store::DryRun::no));
    CACHECTL_TRY(session.print(json_ ? as_json(report) : as_text(report)));
    int status = kDone;
    for (const auto& problem : report.problems) {
      status = session.report(Error(problem).within("gc"));
    }
    return status;
  }

 private:
  struct Row {
    const char* name;
    const char* text;
    store::Tally store::GcReport::*tally;
  };
  static constexpr Row kRows[] = {
      {"expired", "expired entries", &store::GcReport::expired},
      {"damaged", "damaged entries", &store::GcReport::damaged},
      {"evicted", "evicted entries", &store::GcReport::evicted},
      {"attempts", "old outcomes", &store::GcReport::attempts},
      {"staging", "abandoned temporary files", &store::GcReport::staging},
      {"leases", "left-overs of leases", &store::GcReport::leases},
      {"trees", "superseded trees", &store::GcReport::trees},
      {"replicas", "idle replicas", &store::GcReport::replicas},
  };

  [[nodiscard]] std::string as_json(const store::GcReport& report) const {
    Json object;
    object["dry_run"] = dry_run_;
    const auto put = [&](const char* name, const store::Tally& tally) {
      object[name] = {{"files", tally.files}, {"bytes", tally.bytes}};
    };
    for (const auto& row : kRows) put(row.name, report.*row.tally);
    put("kept", report.kept);
    object["busy"] = report.busy;
    object["complete"] = report.complete;
    object["problems"] = Json::array();
    for (const auto& problem : report.problems) {
      object["problems"].push_back(escaped(problem.describe()));
    }
    return one_line(object) + "\n";
  }

  [[nodiscard]] std::string as_text(const store::GcReport& report) const {
    std::string text;
    for (const auto& row : kRows) {
      const auto& tally = report.*row.tally;
      if (tally.files == 0) continue;
      const bool sized = row.tally != &store::GcReport::replicas;
      text +=
          fmt::format("{} {} {}{}\n", dry_run_ ? "would remove" : "removed", tally.files, row.text,
                      sized ? " (" + config::format_size(tally.bytes) + ")" : std::string());
    }
    text += fmt::format("{} {} entries ({})\n", dry_run_ ? "would keep" : "kept", report.kept.files,
                        config::format_size(report.kept.bytes));
    if (report.busy > 0) text += fmt::format("left {} in use\n", report.busy);
    if (!report.complete) text += "stopped at the time limit\n";
    return text;
  }

  bool dry_run_ = false;
  bool json_ = false;
};

}  // namespace

Result<store::GcReport> collect_garbage(Session& session, store::DryRun dry_run) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  store::GcPolicy policy;
  policy.max_size = settings->gc_max_size;
  policy.max_entries = settings->gc_max_entries;
  policy.deadline = lock::Deadline::after(settings->gc_time_limit);
  policy.retention = retention(*settings);
  policy.dry_run = dry_run;
  Cache::IdleReplicas idle;
  for (const auto& section : settings->entries) {
    CACHECTL_ASSIGN(const Key named, Key::from(section.first));
    idle[named.hash().hex()] = static_cast<unsigned>(settings->entry(section.first)->pool_size);
  }
  CACHECTL_ASSIGN(auto report, cache->collect(policy, idle));
  if (dry_run == store::DryRun::no && !settings->events_file.empty()) {
    CACHECTL_ASSIGN(const auto counted, cache->counters());
    const telemetry::EventLog log(settings->events_file,
                                  [&](const Error& why) { session.warn(why); });
    if (counted) log.counted(*counted);
    auto rotated = telemetry::rotate(settings->events_file, settings->events_max_size);
    if (!rotated) report.problems.push_back(std::move(rotated).error());
  }
  return report;
}

std::unique_ptr<Command> make_gc() { return std::make_unique<Gc>(); }

}  // namespace cachectl::cli
