#include "cli/daemon_pages.hpp"

#include <fmt/format.h>

#include "src/status/status.hpp"
#include "src/telemetry/prometheus.hpp"

namespace cachectl::cli {

namespace {

using daemon::Answer;
using daemon::Stage;

constexpr std::chrono::seconds kSeenFor{5};

std::string_view name_of(Stage stage) {
  switch (stage) {
    case Stage::starting:
      return "starting";
    case Stage::ready:
      return "ready";
    case Stage::stopping:
      break;
  }
  return "stopping";
}

template <typename Value>
void gauge(std::string& text, std::string_view name, std::string_view help, const Value& value) {
  text += fmt::format("# HELP cachectl_{0} {1}\n# TYPE cachectl_{0} gauge\ncachectl_{0} {2}\n",
                      name, help, value);
}

}  // namespace

Answer DaemonPages::at(std::string_view path) {
  if (path == "/healthz") return health();
  if (path == "/metrics") return metrics();
  if (path == "/") return overview();
  return {404, "text/plain; charset=utf-8", "not found: there are /, /healthz and /metrics\n"};
}

Answer DaemonPages::health() const {
  const auto stage = notice_.stage.load();
  return {stage == Stage::ready ? 200U : 503U, "text/plain; charset=utf-8",
          std::string(name_of(stage)) + "\n"};
}

Answer DaemonPages::metrics() {
  const auto now = std::chrono::steady_clock::now();
  if (!seen_ || now - seen_at_ > kSeenFor) {
    auto rendered = render();
    // Why is for the log, and not for whoever asks.
    if (!rendered) {
      session_.warn(rendered.error());
      return {500, "text/plain; charset=utf-8", "the cache could not be looked at\n"};
    }
    seen_ = std::move(*rendered);
    seen_at_ = std::chrono::steady_clock::now();
  }
  std::string text;
  gauge(text, "daemon_ready", "1 when each entry without a value has been tried once.",
        notice_.stage == Stage::ready ? 1 : 0);
  gauge(text, "daemon_entries", "Entries that are kept warm.", notice_.entries.load());
  gauge(text, "daemon_entries_failing", "Of them, those whose last refresh failed.",
        notice_.failing.load());
  return {200, "text/plain; version=0.0.4; charset=utf-8", text + *seen_};
}

Result<std::string> DaemonPages::render() const {
  CACHECTL_ASSIGN(const Cache* cache, session_.cache());
  CACHECTL_ASSIGN(const auto status, status::take(*cache));
  std::string text;
  const auto& entries = status.entries;
  text +=
      "# HELP cachectl_entries Values by whether they may still be served.\n"
      "# TYPE cachectl_entries gauge\n";
  text += fmt::format("cachectl_entries{{state=\"fresh\"}} {}\n", entries.fresh);
  text += fmt::format("cachectl_entries{{state=\"stale\"}} {}\n", entries.stale);
  text += fmt::format("cachectl_entries{{state=\"expired\"}} {}\n", entries.expired);
  gauge(text, "entries_damaged", "Records that cannot be read.", entries.damaged);
  gauge(text, "bytes", "Size of all records and of the trees that they name.", entries.bytes);
  gauge(text, "locks_held", "Locks of keys, or of the whole cache, that somebody holds.",
        status.locks.size());
  std::uint64_t waiting = 0;
  for (const auto& lock : status.locks) waiting += lock.waiting;
  gauge(text, "locks_waiting", "Processes that wait for one of them.", waiting);
  gauge(text, "leases", "Leases that live.", status.leases.size());
  CACHECTL_ASSIGN(const auto counted, cache->counters());
  if (counted) text += telemetry::prometheus_text(*counted);
  return text;
}

Answer DaemonPages::overview() const {
  const auto stage = name_of(notice_.stage.load());
  // Numbers and words of our own only, so there is nothing to escape.
  auto text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<title>cachectl: {0}</title>\n<style>body{{font-family:sans-serif;margin:2em}}</style>"
      "</head>\n<body><h1>cachectl daemon</h1>\n"
      "<p>{0}; version {1}; {2} entries kept warm, {3} of them failing</p>\n"
      "<ul><li><a href=\"/healthz\">/healthz</a>: 200 when it is ready, else 503</li>\n"
      "<li><a href=\"/metrics\">/metrics</a>: numbers for Prometheus</li></ul>\n</body></html>\n",
      stage, CACHECTL_VERSION, notice_.entries.load(), notice_.failing.load());
  return {200, "text/html; charset=utf-8", std::move(text)};
}

}  // namespace cachectl::cli
