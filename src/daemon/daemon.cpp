#include "src/daemon/daemon.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <bit>

#include "lock/number.hpp"
#include "lock/retry.hpp"
#include "src/config/duration.hpp"
#include "src/refresh/freshness.hpp"

namespace cachectl::daemon {

namespace {

using Clock = std::chrono::steady_clock;

/// Less than the five seconds that the promise allows for all.
constexpr std::chrono::seconds kGrace{4};
/// Between two starts of a child that should not end.
constexpr std::chrono::seconds kStandingPause{1};
/// The status of a refresh that could not be started.
constexpr int kNotStarted = 125;

std::string count(std::size_t number, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", number, number == 1 ? one : many);
}

std::optional<Clock::time_point> after(Clock::time_point now, std::chrono::nanoseconds duration) {
  if (duration >= Clock::time_point::max() - now) return std::nullopt;
  return now + duration;
}

/// What a refresh says that has found its value made.
std::optional<std::chrono::nanoseconds> begun_ago(const lock::WorkReport& report) {
  std::int64_t ago = 0;
  if (!parse_number(report.text, ago) || ago < 0) return std::nullopt;
  return std::chrono::nanoseconds(ago);
}

}  // namespace

Daemon::Daemon(Duties duties, Notify notify, Board board)
    : duties_(std::move(duties)),
      notify_(std::move(notify)),
      schedule_(refresh::draw),
      board_(std::move(board)) {}

Result<void> Daemon::run() {
  // Before the trap, which passes over what is ignored: our children would be gone unseen.
  ::signal(SIGCHLD, SIG_DFL);
  CACHECTL_ASSIGN(auto trap, lock::SignalTrap::create({SIGCHLD, SIGHUP, SIGINT, SIGTERM}));
  trap_.emplace(std::move(trap));
  CACHECTL_ASSIGN(plan_, duties_.load());
  schedule_.replace(plan_.entries, Clock::now());
  duties_.log(fmt::format("started with {}, {} at a time",
                          count(schedule_.size(), "entry", "entries"), plan_.jobs));
  while (!stopping_ || !workers().empty()) {
    const auto now = Clock::now();
    notify_.give_sign(now);
    if (!stopping_) {
      CACHECTL_TRY(start_work(now));
      start_standing(now);
      announce();
    } else if (kill_at_ && now >= *kill_at_) {
      for (const auto* worker : workers()) worker->kill();
      kill_at_.reset();
    }
    wait(now);
    handle_signals();
  }
  duties_.log("stopped");
  return {};
}

Result<void> Daemon::start_work(Time now) {
  const auto due = schedule_.next_due();
  const bool collects = !collection_ && next_collection_ && now >= *next_collection_;
  const bool refreshes = due && *due <= now && running_.size() < plan_.jobs;
  if (!collects && !refreshes) return {};
  CACHECTL_TRY(duties_.check());
  if (collects) start_collection(now);
  while (running_.size() < plan_.jobs) {
    const auto name = schedule_.start_next(now);
    if (!name) break;
    launch(*name, now);
  }
  return {};
}

void Daemon::launch(const std::string& name, Time now) {
  const auto new_enough = schedule_.new_enough(name, now);
  auto worker = lock::Worker::start([&] { return duties_.refresh(name, new_enough); },
                                    trap_->previous_mask(), lock::Bond::loose);
  if (worker) {
    const pid_t pid = worker->pid();
    running_.emplace(pid, Running{name, std::move(*worker), now});
    return;
  }
  schedule_.failed(name, kNotStarted, now);
  duties_.log(fmt::format("{}: not refreshed: {}", name, worker.error().describe()));
}

void Daemon::start_collection(Time now) {
  next_collection_ = after(now, plan_.gc_interval);
  auto worker = lock::Worker::start(duties_.collect, trap_->previous_mask(), lock::Bond::loose);
  if (worker) {
    collection_.emplace(Running{"gc", std::move(*worker), now});
  } else {
    duties_.log(fmt::format("gc: not run: {}", worker.error().describe()));
  }
}

bool Daemon::is_wanted(const Standing& child) const {
  return &child == &server_ ? plan_.listener >= 0 : plan_.follows;
}

void Daemon::start_standing(Time now) {
  for (auto* child : {&server_, &follower_}) {
    if (!is_wanted(*child) || child->running || now < child->next) continue;
    child->next = now + kStandingPause;
    auto worker =
        child == &server_
            ? lock::Worker::start([this] { return duties_.serve(board_.notice()); },
                                  trap_->previous_mask(), lock::Bond::loose, {plan_.listener})
            : lock::Worker::start(duties_.follow, trap_->previous_mask(), lock::Bond::loose);
    if (worker) {
      child->running.emplace(Running{child->name, std::move(*worker), now});
    } else {
      duties_.log(fmt::format("{}: not started: {}", child->name, worker.error().describe()));
    }
  }
}

std::vector<const lock::Worker*> Daemon::workers() const {
  std::vector<const lock::Worker*> all;
  for (const auto& [pid, each] : running_) all.push_back(&each.worker);
  if (collection_) all.push_back(&collection_->worker);
  for (const auto* child : {&server_, &follower_}) {
    if (child->running) all.push_back(&child->running->worker);
  }
  return all;
}

std::optional<Daemon::Time> Daemon::next_event() const {
  std::optional<Time> next;
  const auto take = [&](const std::optional<Time>& at) {
    if (at && (!next || *at < *next)) next = at;
  };
  take(notify_.next_sign());
  if (stopping_) {
    take(kill_at_);
    return next;
  }
  if (running_.size() < plan_.jobs) take(schedule_.next_due());
  if (!collection_) take(next_collection_);
  for (const auto* child : {&server_, &follower_}) {
    if (is_wanted(*child) && !child->running) take(child->next);
  }
  return next;
}

/// For a signal, or until something is to be done.
void Daemon::wait(Time now) const {
  int patience = -1;
  if (const auto next = next_event()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - std::min(now, *next));
    patience = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
  }
  pollfd watched{trap_->descriptor(), POLLIN, 0};
  // Interrupted or failed: the loop looks again.
  [[maybe_unused]] const int woken = ::poll(&watched, 1, patience);
}

void Daemon::handle_signals() {
  bool reloads = false;
  while (const auto caught = trap_->take()) {
    if (caught->signal == SIGHUP) {
      reloads = true;
    } else if (caught->signal == SIGTERM || caught->signal == SIGINT) {
      stop();
    }
  }
  reap();  // whatever was caught: one SIGCHLD may stand for many
  if (reloads && !stopping_) reload();
}

void Daemon::reap() {
  int status = 0;
  while (true) {
    // Not those that we know only: as the first process of a container we get orphans too.
    const pid_t pid = lock::retry([&] { return ::waitpid(-1, &status, WNOHANG); });
    if (pid <= 0) return;
    if (reap_other(pid, status)) continue;
    const auto found = running_.find(pid);
    if (found == running_.end()) continue;
    Running ended = std::move(found->second);
    running_.erase(found);
    if (!stopping_) settle(ended, ended.worker.finish(status), Clock::now());
  }
}

/// Whether it was no refresh, but one of the others.
bool Daemon::reap_other(pid_t pid, int status) {
  for (auto* other : {&collection_, &server_.running, &follower_.running}) {
    if (!*other || (*other)->worker.pid() != pid) continue;
    const auto report = (*other)->worker.finish(status);
    if (report.status != 0 && !stopping_) {
      duties_.log(fmt::format("{}: {}", (*other)->name, report.text));
    }
    other->reset();
    return true;
  }
  return false;
}

void Daemon::settle(const Running& ended, const lock::WorkReport& report, Time now) {
  const auto& name = ended.name;
  if (!schedule_.contains(name)) return;  // no longer configured
  const auto failures = schedule_.failures(name);
  if (report.status == 0) {
    schedule_.succeeded(name, begun_ago(report).value_or(now - ended.since), now);
    if (failures > 0) {
      duties_.log(fmt::format("{}: refreshed again, after {}", name,
                              count(failures, "failure", "failures")));
    }
    return;
  }
  schedule_.failed(name, report.status, now);
  // What goes on failing is told ever less often: the 1st, 2nd, 4th, 8th time.
  if (!std::has_single_bit(failures + 1)) return;
  const auto pause = schedule_.pause(name, now).value_or(std::chrono::nanoseconds(0));
  duties_.log(fmt::format("{}: not refreshed: {}{}; next try in {}", name, report.text,
                          failures > 0 ? fmt::format(", {} times in a row", failures + 1) : "",
                          config::format_duration(pause)));
}

void Daemon::reload() {
  if (ready_) notify_.send("RELOADING=1\n" + monotonic_stamp());
  auto plan = duties_.load();
  if (plan) {
    plan_ = std::move(*plan);
    const auto now = Clock::now();
    schedule_.replace(plan_.entries, now);
    // They have the old listener and the old configuration.
    for (auto* child : {&server_, &follower_}) {
      if (child->running) child->running->worker.send(SIGTERM);
      child->next = now;
    }
    if (ready_) {
      const auto first = after(now, plan_.gc_interval);
      next_collection_ = next_collection_ && first ? std::min(*next_collection_, *first) : first;
    }
    duties_.log("reloaded: " + count(schedule_.size(), "entry", "entries"));
  } else {
    duties_.log("not reloaded, the old configuration stays: " + plan.error().describe());
  }
  if (ready_) notify_.send("READY=1");
}

void Daemon::stop() {
  const auto now = Clock::now();
  // Whoever asks twice does not want to wait.
  kill_at_ = stopping_ ? now : now + kGrace;
  if (stopping_) return;
  stopping_ = true;
  board_.notice().stage = Stage::stopping;
  notify_.send("STOPPING=1");
  duties_.log(running_.empty()
                  ? "stopping"
                  : "stopping, and ending " + count(running_.size(), "refresh", "refreshes"));
  for (const auto* worker : workers()) worker->send(SIGTERM);
}

void Daemon::announce() {
  notify_.status(schedule_.describe());
  board_.notice().entries = schedule_.size();
  board_.notice().failing = schedule_.failing();
  if (ready_ || !schedule_.is_ready()) return;
  ready_ = true;
  board_.notice().stage = Stage::ready;
  // Where nothing needs to wait for it: what a killed predecessor left behind goes now.
  if (plan_.gc_interval != std::chrono::nanoseconds::max()) next_collection_ = Clock::now();
  const bool told = notify_.send("READY=1");
  duties_.log("ready: " + schedule_.describe());
  if (!told) duties_.log("the service manager could not be told");
}

}  // namespace cachectl::daemon
