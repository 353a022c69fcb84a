#include "src/daemon/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace cachectl::daemon {

namespace {

using std::chrono::nanoseconds;
using Time = Schedule::Time;

/// No entry is made more often, whatever its interval.
constexpr nanoseconds kShortest = std::chrono::seconds(1);
constexpr nanoseconds kFirstRetry = std::chrono::seconds(1);
constexpr nanoseconds kLongestRetry = std::chrono::hours(1);
/// The part of the interval that is drawn, so that entries made together drift apart.
constexpr double kJitter = 0.1;
constexpr std::size_t kFailingShown = 5;

nanoseconds part(nanoseconds duration, double factor) {
  return nanoseconds(static_cast<std::int64_t>(static_cast<double>(duration.count()) * factor));
}

Time later(Time now, nanoseconds duration) {
  return duration < Time::max() - now ? now + duration : Time::max();
}

/// Between two runs: a source that takes as long as its interval does not run without a pause.
nanoseconds least_pause(nanoseconds interval) { return std::max(interval / 10, kShortest); }

nanoseconds pause_after_success(nanoseconds interval, nanoseconds took, double u) {
  if (interval == nanoseconds::max()) return interval;
  const auto on_time = interval - part(interval, kJitter * u) - std::min(took, interval);
  return std::max(on_time, least_pause(interval));
}

nanoseconds pause_after_failure(nanoseconds interval, std::uint64_t failures, double u) {
  const auto longest = std::min(std::max(interval, kShortest), kLongestRetry);
  auto pause = kFirstRetry;
  for (std::uint64_t each = 1; each < failures && pause < longest; ++each) pause *= 2;
  return part(std::min(pause, longest), 0.5 + u / 2);
}

}  // namespace

void Schedule::replace(const std::vector<Entry>& entries, Time now) {
  std::map<std::string, State> next;
  for (const auto& entry : entries) {
    State state{entry, now};
    state.tried = entry.has_value;
    if (const auto known = entries_.find(entry.name); known != entries_.end()) {
      const bool changed = known->second.entry.definition != entry.definition;
      const bool tried = known->second.tried || entry.has_value;
      // What fails may do so no longer, if it is defined anew: not later than now.
      state = known->second;
      state.entry = entry;
      state.tried = tried;
      state.again = state.again || (changed && state.runs);
      if (changed) state.due = state.redefined = now;
    }
    next.emplace(entry.name, std::move(state));
  }
  entries_ = std::move(next);
}

std::optional<std::string> Schedule::start_next(Time now) {
  State* first = nullptr;
  const auto is_before = [](const State& a, const State& b) {
    return a.tried != b.tried ? !a.tried : a.due < b.due;
  };
  for (auto& [name, state] : entries_) {
    if (state.runs || state.due > now) continue;
    if (first == nullptr || is_before(state, *first)) first = &state;
  }
  if (first == nullptr) return std::nullopt;
  first->runs = true;
  return first->entry.name;
}

/// nullptr: the configuration knows it no more.
Schedule::State* Schedule::ended(const std::string& name, Time now) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  auto& state = found->second;
  state.runs = false;
  state.tried = true;
  state.due = now;
  return &state;
}

void Schedule::succeeded(const std::string& name, nanoseconds took, Time now) {
  State* const state = ended(name, now);
  if (state == nullptr) return;
  state->failures = 0;
  if (!std::exchange(state->again, false)) {
    state->due = later(now, pause_after_success(state->entry.interval, took, draw_()));
  }
}

void Schedule::failed(const std::string& name, int status, Time now) {
  State* const state = ended(name, now);
  if (state == nullptr) return;
  ++state->failures;
  state->status = status;
  if (!std::exchange(state->again, false)) {
    state->due = later(now, pause_after_failure(state->entry.interval, state->failures, draw_()));
  }
}

std::optional<Time> Schedule::next_due() const {
  auto due = Time::max();
  for (const auto& [name, state] : entries_) {
    if (!state.runs) due = std::min(due, state.due);
  }
  return due == Time::max() ? std::nullopt : std::optional(due);
}

std::size_t Schedule::untried() const {
  return static_cast<std::size_t>(std::count_if(
      entries_.begin(), entries_.end(), [](const auto& each) { return !each.second.tried; }));
}

std::uint64_t Schedule::failures(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? 0 : found->second.failures;
}

std::optional<nanoseconds> Schedule::pause(const std::string& name, Time now) const {
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.due == Time::max()) return std::nullopt;
  return std::max<nanoseconds>(found->second.due - now, nanoseconds(0));
}

nanoseconds Schedule::new_enough(const std::string& name, Time now) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nanoseconds(0);
  const auto& state = found->second;
  auto age = state.entry.interval;
  if (age != nanoseconds::max()) {
    age = std::max(part(age, 1 - kJitter) - least_pause(age), nanoseconds(0));
  }
  return state.redefined == Time::min() ? age : std::min<nanoseconds>(age, now - state.redefined);
}

std::size_t Schedule::failing() const {
  const auto fails = [](const auto& item) { return item.second.failures > 0; };
  return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), fails));
}

std::string Schedule::describe() const {
  std::string text = fmt::format("{} {}", size(), size() == 1 ? "entry" : "entries");
  if (const auto left = untried(); left > 0) text += fmt::format(", {} to be made first", left);
  std::size_t failing = 0;
  std::string who;
  for (const auto& [name, state] : entries_) {
    if (state.failures == 0 || ++failing > kFailingShown) continue;
    fmt::format_to(std::back_inserter(who), "{}{} (status {}, {} {})", who.empty() ? "" : ", ",
                   name, state.status, state.failures, state.failures == 1 ? "time" : "times");
  }
  if (failing > kFailingShown) who += fmt::format(" and {} more", failing - kFailingShown);
  return failing == 0 ? text : text + fmt::format(", {} failing: {}", failing, who);
}

}  // namespace cachectl::daemon
