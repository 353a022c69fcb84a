#include "cli/events_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "cli/session.hpp"
#include "src/config/duration.hpp"
#include "src/key.hpp"

namespace cachectl::cli {

namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 140;
constexpr double kLeft = 56;  // for the scale
constexpr double kTop = 12;

constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>cachectl events</title>
<style>
:root { color-scheme: light dark; --ink: #222; --faint: #888; --rule: #ddd; --paper: #fff;
  --good: #2a78b8; --bad: #c8442e; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --faint: #999; --rule: #444;
  --paper: #1b1b1b; --good: #5fa8dd; --bad: #ef7b66; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
p, .note { color: var(--faint); margin: 0 0 .5rem; }
svg { width: 100%; height: auto; display: block; } svg text { font-size: 11px; fill: var(--faint); }
.rule { stroke: var(--rule); } .good { fill: var(--good); } .bad { fill: var(--bad); }
.key { color: var(--good); } .key.bad { color: var(--bad); }
.table { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--rule);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
</style></head><body>
)";

std::string html(std::string_view text) {
  std::string result;
  for (const char each : text) {
    switch (each) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += each;
    }
  }
  return result;
}

/// "2026-11-22 12:00:00".
std::string time_text(std::int64_t at) {
  auto text = iso_time(WallTime(std::chrono::seconds(at))).substr(0, 19);
  text[10] = ' ';
  return text;
}

std::string seconds_text(double seconds) {
  return seconds < 1 ? fmt::format("{:.0f} ms", seconds * 1000) : fmt::format("{:.1f} s", seconds);
}

/// What stands above a span: two amounts, the second on top of the first.
struct Bar {
  double good = 0;
  double bad = 0;
  std::string says;
};

class Chart {
 public:
  /// `most`: what reaches the top; 0: the highest bar does.
  Chart(const EventSummary& summary, double most, std::function<std::string(double)> label)
      : summary_(&summary), most_(most), label_(std::move(label)) {}

  std::string draw(const std::vector<std::optional<Bar>>& bars) const {
    double most = most_;
    for (const auto& bar : bars) {
      if (bar && most_ == 0) most = std::max(most, bar->good + bar->bad);
    }
    if (most == 0) most = 1;
    auto text = fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\">\n",
                            kLeft + kWidth + 4, kTop + kHeight + 22);
    for (const double part : {0.0, 0.5, 1.0}) {
      const double y = kTop + kHeight * (1 - part);
      text += fmt::format(
          "<line class=\"rule\" x1=\"{0:.0f}\" x2=\"{1:.0f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
          "<text x=\"{3:.0f}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
          kLeft, kLeft + kWidth, y, kLeft - 6, y + 4, label_(most * part));
    }
    const double step = kWidth / static_cast<double>(bars.size());
    for (std::size_t index = 0; index < bars.size(); ++index) {
      if (bars[index]) text += bar(*bars[index], index, step, most);
    }
    const auto end =
        summary_->start + summary_->width * static_cast<std::int64_t>(summary_->spans.size());
    text += fmt::format(
        "<text x=\"{:.0f}\" y=\"{:.0f}\">{}</text>"
        "<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text>\n</svg>\n",
        kLeft, kTop + kHeight + 18, time_text(summary_->start), kLeft + kWidth, kTop + kHeight + 18,
        time_text(end));
    return text;
  }

 private:
  [[nodiscard]] std::string bar(const Bar& what, std::size_t index, double step,
                                double most) const {
    const double x = kLeft + step * static_cast<double>(index);
    const double width = std::max(step - 1, 0.5);
    const double good = kHeight * std::min(what.good / most, 1.0);
    const double bad = kHeight * std::min(what.bad / most, 1.0);
    const double bottom = kTop + kHeight;
    auto text = std::string("<g>");
    if (good > 0) {
      text += fmt::format(
          R"(<rect class="good" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)", x,
          bottom - good, width, good);
    }
    if (bad > 0) {
      text +=
          fmt::format(R"(<rect class="bad" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)",
                      x, bottom - good - bad, width, bad);
    }
    const auto at = time_text(summary_->start + summary_->width * static_cast<std::int64_t>(index));
    return text + fmt::format("<title>{}: {}</title></g>\n", at, html(what.says));
  }

  const EventSummary* summary_;
  double most_;
  std::function<std::string(double)> label_;
};

std::string whole(double value) { return fmt::format("{:.0f}", value); }

std::string hit_chart(const EventSummary& summary) {
  std::vector<std::optional<Bar>> bars;
  bool any = false;
  for (const auto& span : summary.spans) {
    bars.emplace_back();
    const auto all = span.hits + span.misses;
    if (all == 0) continue;
    any = true;
    const double ratio = static_cast<double>(span.hits) / static_cast<double>(all);
    bars.back() = Bar{ratio, 0, fmt::format("{:.1f} % of {}", ratio * 100, all)};
  }
  std::string text = "<h2>Hit ratio</h2>\n";
  if (!any) {
    return text +
           "<p>Not known: gc writes the counters into the log, and has not done so twice "
           "with requests between.</p>\n";
  }
  return text + Chart(summary, 1, [](double part) {
                  return fmt::format("{:.0f} %", part * 100);
                }).draw(bars);
}

std::string wait_chart(const EventSummary& summary) {
  std::vector<std::optional<Bar>> bars;
  for (const auto& span : summary.spans) {
    bars.emplace_back();
    if (span.waits + span.timeouts == 0) continue;
    bars.back() =
        Bar{span.timeouts > 0 ? 0 : span.longest_wait, span.timeouts > 0 ? span.longest_wait : 0,
            fmt::format("{} locks, the longest wait {}, {} given up", span.waits,
                        seconds_text(span.longest_wait), span.timeouts)};
  }
  return "<h2>Longest wait for a lock</h2>\n<p>Where somebody has given up, in "
         "<span class=\"key bad\">red</span>.</p>\n" +
         Chart(summary, 0, seconds_text).draw(bars);
}

std::string refresh_chart(const EventSummary& summary) {
  std::vector<std::optional<Bar>> bars;
  for (const auto& span : summary.spans) {
    bars.emplace_back();
    if (span.refreshes + span.failures == 0) continue;
    bars.back() = Bar{static_cast<double>(span.refreshes), static_cast<double>(span.failures),
                      fmt::format("{} refreshed, {} failed", span.refreshes, span.failures)};
  }
  return "<h2>Refreshes</h2>\n<p>Sources that ended <span class=\"key\">well</span>, and those "
         "that <span class=\"key bad\">failed</span>.</p>\n" +
         Chart(summary, 0, whole).draw(bars);
}

std::string key_table(const EventSummary& summary) {
  constexpr std::size_t kMost = 20;
  std::vector<std::pair<std::string, KeySummary>> keys(summary.keys.begin(), summary.keys.end());
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) {
    return a.second.source_seconds > b.second.source_seconds;
  });
  if (keys.size() > kMost) keys.resize(kMost);
  std::string text =
      "<h2>Where the time goes</h2>\n<div class=\"table\"><table><tr><th>Key</th>"
      "<th>Refreshed</th><th>Failed</th><th>Time of its source</th></tr>\n";
  for (const auto& [key, sums] : keys) {
    text += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", html(key),
                        sums.refreshes, sums.failures, seconds_text(sums.source_seconds));
  }
  return text + "</table></div>\n";
}

}  // namespace

std::string events_page(const EventSummary& summary, std::string_view log, std::string_view made) {
  auto text = std::string(kHead);
  text += fmt::format("<h1>cachectl events</h1>\n<p>{}, as of {}. Times are UTC.</p>\n",
                      html(escaped(log)), html(made));
  if (summary.unreadable > 0) {
    text += fmt::format("<p>{} lines could not be read.</p>\n", summary.unreadable);
  }
  if (summary.spans.empty()) {
    text += "<p>No events yet.</p>\n";
  } else {
    text += fmt::format("<p>A bar stands for {}.</p>\n",
                        config::format_duration(std::chrono::seconds(summary.width)));
    text += hit_chart(summary) + wait_chart(summary) + refresh_chart(summary) + key_table(summary);
  }
  return text + "</body></html>\n";
}

}  // namespace cachectl::cli
