// cachectl stats [KEY-or-ENTRY...] [--format text|json|prometheus] [--json] [--reset] [--html FILE]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "cli/command.hpp"
#include "cli/counted.hpp"
#include "cli/events_page.hpp"
#include "cli/json.hpp"
#include "cli/paint.hpp"
#include "lock/fd.hpp"
#include "lock/retry.hpp"
#include "src/config/duration.hpp"
#include "src/config/size.hpp"
#include "src/telemetry/prometheus.hpp"

namespace cachectl::cli {

namespace {

using std::chrono::nanoseconds;
using telemetry::Counter;
using telemetry::Report;
using telemetry::Row;
using telemetry::Timing;
using telemetry::Unit;

constexpr std::array kQuantiles{0.5, 0.95, 0.99};

double in_seconds(nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

class TextOutput {
 public:
  TextOutput(const Report& report, WallTime now) : report_(report) {
    const auto age = std::chrono::floor<std::chrono::seconds>(now - report.since);
    text_ = fmt::format("since {} ({} ago)\n\n", iso_time(report.since),
                        age.count() > 0 ? config::format_duration(age) : "0s");
  }

  /// All rows, and of the total everything.
  std::string all() {
    heading();
    for (const auto& row : report_.entries) line(row, row.name);
    line(report_.others, "");
    const auto total = report_.total();
    line(total, "total");
    details(total);
    return std::move(text_);
  }

  /// These rows, and of each everything.
  std::string of(const std::vector<const Row*>& rows) {
    bool first = true;
    for (const auto* row : rows) {
      if (!std::exchange(first, false)) text_ += '\n';
      heading();
      line(*row, row->name);
      details(*row);
    }
    return std::move(text_);
  }

 private:
  void heading() {
    text_ += paint_.bold(fmt::format("{:<27} {:>9} {:>7} {:>7} {:>7} {:>8} {:>8}", "ENTRY",
                                     "REQUESTS", "HITS", "SHARED", "FAILED", "SAVED", "WAIT P95")) +
             '\n';
  }

  void line(const Row& row, std::string_view name) {
    const auto failures = telemetry::sum_of(row, "failures");
    const auto failed = fmt::format("{:>7}", failures);
    text_ += fmt::format("{:<27} {:>9} {:>7} {:>7} {} {:>8} {:>8}\n", name_of_row(name, 27),
                         telemetry::requests(row), hits_in_percent(row), row.of(Counter::shared),
                         failures > 0 ? paint_.red(failed) : failed,
                         three_digits(as_duration(row.of(Counter::saved))),
                         three_digits(row.of(Timing::lock_wait).quantile(0.95)));
  }

  void details(const Row& row) {
    text_ += '\n' +
             paint_.bold(fmt::format("{:<27} {:>9} {:>9} {:>9} {:>9}", "TIME", "COUNT", "P50",
                                     "P95", "P99")) +
             '\n';
    for (const auto& info : telemetry::kTimings) {
      const auto& counted = row.of(info.timing);
      text_ += fmt::format("{:<27} {:>9}", info.name, counted.count());
      for (const double part : kQuantiles) {
        text_ += fmt::format(" {:>9}", three_digits(counted.quantile(part)));
      }
      text_ += '\n';
    }
    text_ += '\n' + paint_.bold("COUNTER") + '\n';
    for (const auto& info : telemetry::kCounters) {
      const auto count = row.of(info.counter);
      if (count == 0) continue;
      const auto value = info.unit == Unit::bytes     ? config::format_size(count)
                         : info.unit == Unit::seconds ? three_digits(as_duration(count))
                                                      : std::to_string(count);
      auto name = std::string(info.family);
      if (!info.value.empty()) name += fmt::format(" ({})", info.value);
      text_ += fmt::format("{:<27} {:>9}\n", name, value);
    }
  }

  const Report& report_;
  Paint paint_;
  std::string text_;
};

Json counters_of(const Row& row) {
  Json object = Json::object();
  const auto ratio = telemetry::hit_ratio(row);
  object["hit_ratio"] = ratio ? Json(*ratio) : Json(nullptr);
  for (const auto& info : telemetry::kCounters) {
    const auto count = row.of(info.counter);
    auto name = std::string(info.family);
    if (info.unit == Unit::bytes) name += "_bytes";
    if (info.unit == Unit::seconds) name += "_seconds";
    const auto value =
        info.unit == Unit::seconds ? Json(in_seconds(as_duration(count))) : Json(count);
    if (info.value.empty()) {
      object[name] = value;
    } else {
      object[name][std::string(info.value)] = value;
    }
  }
  Json timings = Json::object();
  for (const auto& info : telemetry::kTimings) {
    const auto& counted = row.of(info.timing);
    Json timing = {{"count", counted.count()}, {"sum", in_seconds(as_duration(counted.sum))}};
    for (const double part : kQuantiles) {
      timing[fmt::format("p{:.0f}", part * 100)] = in_seconds(counted.quantile(part));
    }
    timings[std::string(info.name)] = std::move(timing);
  }
  object["seconds"] = std::move(timings);
  return object;
}

std::string as_json(const Report& report, const std::vector<const Row*>& rows) {
  Json entries = Json::array();
  for (const auto* row : rows) {
    Json object;
    put_bytes(object, "entry", row->name);
    object.update(counters_of(*row));
    entries.push_back(std::move(object));
  }
  Json object = {{"version", 1}, {"since", iso_time(report.since)}};
  object["entries"] = std::move(entries);
  object["others"] = counters_of(report.others);
  object["total"] = counters_of(report.total());
  return one_line(object) + "\n";
}

class Stats final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("ENTRY", names_, "Entries of the configuration, or keys of them", false);
    definition.option("--format", format_, "text|json|prometheus", "How to print them: as text");
    definition.flag("--json", json_, "The same as --format json");
    definition.flag("--reset", reset_, "Begin anew, once they are printed");
    definition.option("--html", page_, "FILE",
                      "Instead, make a page with charts of events.file; -: print it");
    definition.footer(
        "What was counted in this cache, by all processes, since it was made or reset: for each\n"
        "[entries.NAME] that was used, and for all other keys together. Failures, hits and waits\n"
        "of a key that matches a pattern count under the pattern.");
  }

  Result<int> execute(Session& session) override {
    if (!page_.empty()) return make_page(session);
    if (json_ && !format_.empty() && format_ != "json") {
      return fail(Errc::usage, "both --json and --format " + escaped(format_) + " were given");
    }
    if (format_.empty()) format_ = json_ ? "json" : "text";
    if (format_ != "text" && format_ != "json" && format_ != "prometheus") {
      return fail(Errc::usage, "--format: '" + escaped(format_) + "' is no format",
                  "text, json or prometheus");
    }
    if (format_ == "prometheus" && !names_.empty()) {
      return fail(Errc::usage, "the text for Prometheus has all entries", "leave the names out");
    }
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_ASSIGN(auto counted, cache->counters());
    if (!counted && format_ == "text") session.tell("stats: nothing was counted yet");
    Report report;
    report.since = cache->clock().now();
    if (counted) report = std::move(*counted);
    CACHECTL_ASSIGN(const auto rows, rows_of(session, report));
    const auto text = format_ == "prometheus" ? telemetry::prometheus_text(report)
                      : format_ == "json"     ? as_json(report, rows)
                      : names_.empty()        ? TextOutput(report, cache->clock().now()).all()
                                              : TextOutput(report, cache->clock().now()).of(rows);
    if (counted || format_ != "text") CACHECTL_TRY(session.print(text));
    if (reset_) CACHECTL_TRY(cache->reset_counters());
    return kDone;
  }

 private:
  Result<int> make_page(Session& session) const {
    if (json_ || reset_ || !format_.empty() || !names_.empty()) {
      return fail(Errc::usage, "--html makes a page of the event log", "leave the rest out");
    }
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    if (settings->events_file.empty()) {
      return fail(Errc::config, "there is no event log to make a page of",
                  "set events.file in the configuration");
    }
    const auto& log = settings->events_file;
    CACHECTL_ASSIGN(const auto summary, sum_up_events(log));
    const auto text = events_page(summary, log, iso_time(SystemClock().now()));
    if (page_ == "-") {
      CACHECTL_TRY(session.print(text));
      return kDone;
    }
    const lock::Fd file(
        lock::retry([&] { return ::open(page_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666); }));
    if (!file.valid()) return fail(system_error("open " + page_));
    struct stat of_log {};
    CACHECTL_ASSIGN(const auto of_page, lock::status_of(file.get(), page_));
    if (::stat(log.c_str(), &of_log) == 0 && lock::same_file(of_log, of_page)) {
      return fail(Errc::usage, page_ + ": is the event log itself",
                  "give another name for the page");
    }
    // What is no plain file has no length.
    if (S_ISREG(of_page.st_mode) && lock::retry([&] { return ::ftruncate(file.get(), 0); }) != 0) {
      return fail(system_error("truncate " + page_));
    }
    CACHECTL_TRY(lock::write_all(file.get(), lock::bytes_of(text), page_));
    return kDone;
  }

  /// Those that were named, each once and in their order; or all.
  Result<std::vector<const Row*>> rows_of(Session& session, const Report& report) {
    std::vector<const Row*> rows;
    if (names_.empty()) {
      for (const auto& row : report.entries) rows.push_back(&row);
      return rows;
    }
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    for (const auto& given : names_) {
      const auto section = config::section_of_key(settings->entries, given);
      const bool is_section = settings->entries.contains(given);
      const Row* row = report.find(given);
      if (row == nullptr && !is_section) row = section.empty() ? nullptr : report.find(section);
      if (row == nullptr && section.empty() && !is_section) {
        return fail(Errc::usage,
                    "'" + escaped(given) + "' is no entry of the configuration, nor a key of one",
                    "it counts with all others");
      }
      if (row == nullptr) {
        unused_.push_back(std::make_unique<Row>());
        unused_.back()->name = is_section ? given : std::string(section);
        row = unused_.back().get();
      }
      if (std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(row);
    }
    return rows;
  }

  std::vector<std::string> names_;
  std::string format_;
  std::string page_;
  bool json_ = false;
  bool reset_ = false;
  std::vector<std::unique_ptr<Row>> unused_;  // named, and never counted in
};

}  // namespace

std::unique_ptr<Command> make_stats() { return std::make_unique<Stats>(); }

}  // namespace cachectl::cli
