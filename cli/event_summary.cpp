#include "cli/event_summary.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string_view>

#include "cli/json.hpp"
#include "src/key.hpp"

namespace cachectl::cli {

namespace {

constexpr std::int64_t kMostSpans = 72;

/// "2026-11-22T02:14:07.123Z", to the second.
std::optional<std::int64_t> seconds_of(const std::string& text) {
  tm date{};
  const char* const end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &date);
  if (end == nullptr || (*end != '.' && *end != 'Z')) return std::nullopt;
  return ::timegm(&date);
}

struct Event {
  std::int64_t at = 0;
  std::string what;
  std::string key;
  double duration = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
};

std::optional<Event> read_event(const std::string& line) {
  const auto object = Json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto text = [&](const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto number = [&](const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number() ? found->get<double>() : 0;
  };
  const auto at = seconds_of(text("time"));
  if (!at) return std::nullopt;
  return Event{*at,
               text("event"),
               escaped(text(object.contains("key") ? "key" : "key_base64")),
               number("duration"),
               static_cast<std::uint64_t>(std::max(number("hits"), 0.0)),
               static_cast<std::uint64_t>(std::max(number("misses"), 0.0))};
}

/// The shortest usual length by which so much time has few spans.
std::int64_t width_for(std::int64_t length) {
  constexpr std::array<std::int64_t, 11> kWidths{1,    5,    15,    60,    300,  900,
                                                 3600, 7200, 21600, 43200, 86400};
  for (const auto width : kWidths) {
    if (length / width < kMostSpans) return width;
  }
  return length / kMostSpans + 1;
}

class Summing {
 public:
  Result<void> read(const std::string& path) {
    std::ifstream file(path);
    if (!file && errno == ENOENT) return {};
    if (!file) return fail(system_error("open " + path));
    for (std::string line; std::getline(file, line);) {
      if (auto event = read_event(line)) {
        events_.push_back(std::move(*event));
      } else {
        ++summary_.unreadable;
      }
    }
    return {};
  }

  EventSummary finish() {
    if (events_.empty()) return std::move(summary_);
    std::stable_sort(events_.begin(), events_.end(),
                     [](const Event& a, const Event& b) { return a.at < b.at; });
    const auto length = events_.back().at - events_.front().at;
    summary_.width = width_for(length);
    summary_.start = events_.front().at / summary_.width * summary_.width;
    summary_.spans.resize(
        static_cast<std::size_t>((events_.back().at - summary_.start) / summary_.width + 1));
    for (const auto& event : events_) add(event);
    return std::move(summary_);
  }

 private:
  void add(const Event& event) {
    auto& span =
        summary_.spans[static_cast<std::size_t>((event.at - summary_.start) / summary_.width)];
    if (event.what == "lock_acquired") {
      ++span.waits;
      span.longest_wait = std::max(span.longest_wait, event.duration);
    } else if (event.what == "lock_timed_out") {
      ++span.timeouts;
    } else if (event.what == "source_ended") {
      summary_.keys[event.key].source_seconds += event.duration;
      ++summary_.keys[event.key].refreshes;
      ++span.refreshes;
    } else if (event.what.starts_with("failed_")) {
      // What has ended in failure has ended, too, unless it never began.
      auto& key = summary_.keys[event.key];
      if (event.what != "failed_start" && key.refreshes > 0) --key.refreshes;
      if (event.what != "failed_start" && span.refreshes > 0) --span.refreshes;
      ++key.failures;
      ++span.failures;
    } else if (event.what == "counted") {
      // The counters only grow, but begin anew when they are reset. Nobody knows what of the
      // first is from before the log.
      if (counted_) {
        span.hits += event.hits >= hits_ ? event.hits - hits_ : event.hits;
        span.misses += event.misses >= misses_ ? event.misses - misses_ : event.misses;
      }
      counted_ = true;
      hits_ = event.hits;
      misses_ = event.misses;
    }
  }

  EventSummary summary_;
  std::vector<Event> events_;
  bool counted_ = false;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
};

}  // namespace

Result<EventSummary> sum_up_events(const std::string& path) {
  Summing summing;
  CACHECTL_TRY(summing.read(path + ".1"));
  CACHECTL_TRY(summing.read(path));
  return summing.finish();
}

}  // namespace cachectl::cli
