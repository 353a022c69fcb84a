#include "src/refresh/coalesce.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "lock/detach.hpp"
#include "lock/retry.hpp"
#include "src/config/duration.hpp"
#include "src/refresh/request.hpp"

namespace cachectl::refresh {

using telemetry::What;

bool StorePolicy::stores(const lock::ExitStatus& status) const {
  if (status.by_signal()) return false;
  if (only_success) return status.value == 0;
  return std::find(never_these.begin(), never_these.end(), status.value) == never_these.end();
}

bool can_do_without(const Error& error) {
  return error.code == Errc::read_only || error.code == Errc::permission || error.code == Errc::io;
}

Result<RunResult> run_without(const Key& key, const Source& source, const RunPolicy& policy,
                              const Sink& sink, Error why, const Warn& warn) {
  const bool is_failure = why.code == Errc::io;
  if (!is_failure) warn(Error(why).within("the cache cannot be written, running uncached"));
  CACHECTL_ASSIGN(auto result, run_uncached(key, source, policy, sink));
  if (is_failure) result.not_stored = std::move(why);
  return result;
}

RunResult Coalescer::replay(Value value, How how, const Sink& sink) {
  const auto& entry = value.entry;
  RunResult result;
  result.how = how;
  result.tree = std::move(value.tree);
  result.status = {entry.header().exit_status, 0};
  result.generation = entry.header().generation;
  const auto pass_on = [&](int to, store::Stream stream, std::string_view name) {
    if (to < 0) return;
    auto written = entry.write_to(to, stream, name);
    if (!written && !result.not_passed_on) result.not_passed_on = std::move(written).error();
  };
  pass_on(sink.output, store::Stream::output, "standard output");
  pass_on(sink.errors, store::Stream::errors, "standard error");
  return result;
}

/// Replays a value, and tells who watches.
RunResult Coalescer::serve(Value value, How how, What what, const Sink& sink,
                           const telemetry::Stopwatch& asked) const {
  const auto header = value.entry.header();
  const std::string key(value.entry.key());
  auto result = replay(std::move(value), how, sink);
  const auto bytes =
      (sink.output >= 0 ? header.output_size : 0) + (sink.errors >= 0 ? header.error_size : 0);
  root_->tell({what, key, asked.elapsed(), header.source_duration, bytes, header.generation,
               header.exit_status});
  return result;
}

Result<RunResult> run_uncached(const Key& key, const Source& source, const RunPolicy& policy,
                               const Sink& sink) {
  Hold hold;
  tell_key(key, hold.environment);
  CACHECTL_ASSIGN(Captured captured,
                  capture(source, hold, sink, nullptr, nullptr, policy.pass_signals,
                          [](const Captured&) { return true; }));
  RunResult result;
  result.how = How::uncached;
  result.status = captured.status;
  const auto failure = failure_in(source, policy, captured, false);
  const bool is_empty = failure && captured.status.value == 0;
  if (captured.timed_out || is_empty) result.source_failed = failure;
  if (is_empty) result.status = {1, 0};
  result.interrupted_by = captured.interrupted_by;
  result.not_passed_on = std::move(captured.not_passed_on);
  return result;
}

/// The entry of a lookup if its value is whole, and of the kind that the source makes; a
/// damaged one is a miss with a warning.
Result<std::optional<Coalescer::Value>> Coalescer::usable(store::Lookup lookup, store::Place from,
                                                          const Source& source) const {
  std::optional<Value> nothing;
  if (lookup.defect) (*warn_)(*lookup.defect);
  if (!lookup.entry) return nothing;
  auto& entry = *lookup.entry;
  if (auto verified = entry.verify(); !verified) {
    if (verified.error().code != Errc::corrupt) return fail(std::move(verified).error());
    (*warn_)(verified.error());
    return nothing;
  }
  const auto& header = entry.header();
  const bool is_failure = from == store::Place::attempt && header.failures > 0;
  if (!is_failure && header.kind != source.kind()) return nothing;
  Value value{std::move(entry), std::nullopt, is_failure};
  if (header.kind == store::Kind::tree) {
    CACHECTL_ASSIGN(value.tree, store::pin_tree(*root_, KeyHash::of(value.entry.key()),
                                                value.entry.header().tree_generation));
    if (!value.tree) return nothing;  // superseded long ago, or lost: either way it is made anew
  }
  return std::optional<Value>(std::move(value));
}

Result<Coalescer::Seen> Coalescer::look(const Key& key) const {
  Seen seen;
  CACHECTL_ASSIGN(auto record, store::find(*root_, key));
  seen.record = std::move(record.entry);
  if (record.defect) (*warn_)(*record.defect);
  CACHECTL_ASSIGN(auto attempt, store::find_attempt(*root_, key));
  seen.attempt = std::move(attempt.entry);
  return seen;
}

/// Whether a stored value answers who asks by this policy.
bool Coalescer::is_new_enough(const RunPolicy& policy, const store::Entry& entry) const {
  const auto& header = entry.header();
  if (policy.force && (policy.forced_before == kNever || begun(header) < policy.forced_before)) {
    return false;
  }
  return state_of(header, entry.last_used(), policy.windows, clock_->now()) == State::fresh;
}

/// What answers the request now: a fresh value, or the outcome of an attempt that ended
/// since it was made.
Result<std::optional<Coalescer::Value>> Coalescer::answer(const Request& request) const {
  CACHECTL_ASSIGN(Seen seen, look(request.key));
  const bool attempt_is_new =
      seen.ended_without_value() && Seen::number(seen.attempt) != request.seen_attempt;
  if (attempt_is_new) {
    store::Lookup lookup;
    lookup.entry = std::move(seen.attempt);
    return usable(std::move(lookup), store::Place::attempt, request.source);
  }
  const bool record_is_new = seen.record && Seen::number(seen.record) != request.seen_record;
  const bool record_is_fresh = seen.record && Seen::number(seen.record) != request.expired &&
                               is_new_enough(request.policy, *seen.record);
  if (!record_is_new && !record_is_fresh) return std::optional<Value>();
  store::Lookup lookup;
  lookup.entry = std::move(seen.record);
  return usable(std::move(lookup), store::Place::entry, request.source);
}

Result<RunResult> Coalescer::run(const Key& key, const Source& source, const RunPolicy& policy,
                                 const Sink& sink) const {
  bool started = false;
  auto result = run_cached(key, source, policy, sink, started);
  // A cache that cannot be used can still not keep the job from its result. A tree has no
  // other place to be made in.
  if (!result && !started && !source.makes_tree && can_do_without(result.error())) {
    root_->tell({What::uncached, key.bytes()});
    return run_without(key, source, policy, sink, std::move(result).error(), *warn_);
  }
  return result;
}

Result<RunResult> Coalescer::run_cached(const Key& key, const Source& source,
                                        const RunPolicy& policy, const Sink& sink,
                                        bool& started) const {
  const auto& windows = policy.windows;
  Request request{key, source, policy, sink, started};
  CACHECTL_ASSIGN(auto found, store::find(*root_, key));
  request.seen_record = Seen::number(found.entry);
  if (found.entry && !policy.force) {
    const auto& header = found.entry->header();
    const auto now = clock_->now();
    auto state = state_of(header, found.entry->last_used(), windows, now);
    if (state == State::stale && policy.stale_is_expired) state = State::expired;
    const bool is_due = state == State::stale ||
                        (state == State::fresh && refreshes_early(header, windows, now, draw()));
    if (state == State::fresh && policy.keeps_kind && header.kind != source.kind()) {
      return fail(
          store::other_kind(key, header.kind, "use another key, or replace it with --force"));
    }
    if (state == State::expired) {
      request.expired = header.generation;
    } else {
      CACHECTL_ASSIGN(auto value, usable(std::move(found), store::Place::entry, source));
      if (value) {
        if (windows.expire_after_access != std::chrono::nanoseconds::max()) value->entry.touch(now);
        const bool is_stale = state == State::stale;
        auto result = serve(std::move(*value), is_stale ? How::stale : How::hit,
                            is_stale ? What::stale_hit : What::hit, sink, request.asked);
        result.refresh_due = is_due;
        return result;
      }
    }
  }
  if (!policy.force) root_->tell({What::miss, key.bytes()});
  CACHECTL_ASSIGN(auto attempt, store::find_attempt(*root_, key));
  request.seen_attempt = Seen::number(attempt.entry);
  const bool is_last = request.seen_attempt > request.seen_record;
  if (auto failure = is_last ? remembered_failure(policy, *attempt.entry) : std::nullopt) {
    CACHECTL_ASSIGN(auto instead, stand_in(request, *failure));
    if (instead) return std::move(*instead);
    CACHECTL_ASSIGN(auto value, usable(std::move(attempt), store::Place::attempt, source));
    if (value) {
      (*warn_)(*failure);
      return serve(std::move(*value), How::shared, What::remembered_failure, sink, request.asked);
    }
  }
  return ask(request);
}

namespace {

/// The first line of what a failed source said, for a message.
std::string first_line(const store::Entry& attempt) {
  constexpr std::size_t kLongest = 200;
  if (attempt.header().error_size > std::uint64_t{1} << 20U) return {};
  const auto text = attempt.read(store::Stream::errors);
  if (!text || text->empty()) return {};
  return ": " + text->substr(0, std::min(text->find('\n'), kLongest));
}

/// "the source failed with status 22: curl: (22) ...".
Error failure_of(const store::Entry& attempt) {
  const auto& header = attempt.header();
  std::string what = "the source failed with status " + std::to_string(header.exit_status);
  if (header.failures > 1) what += ", " + std::to_string(header.failures) + " times in a row";
  return {Errc::io, 0, what + first_line(attempt), {}};
}

}  // namespace

/// Why the source is not to be tried again yet after an attempt that ended without a value: it
/// failed, and that has a TTL or has opened the circuit breaker.
std::optional<Error> Coalescer::remembered_failure(const RunPolicy& policy,
                                                   const store::Entry& attempt) const {
  if (policy.force) return std::nullopt;
  const auto& header = attempt.header();
  const auto& [windows, failure] = std::tie(policy.windows, policy.failure);
  const auto now = clock_->now();
  if (header.failures == 0 || store::is_from_future(header, now)) return std::nullopt;
  auto until = header.created;
  if (windows.ttl_by_status.contains(header.exit_status)) {
    until = later(header.created, windows.ttl_of(header.exit_status));
  }
  if (header.failures >= failure.breaker_failures) {
    until = std::max(until, later(header.created, failure.breaker_cool_down));
  }
  if (now >= until) return std::nullopt;
  auto why = failure_of(attempt);
  why.advice = "not tried again for " + config::format_duration(until - now);
  return why;
}

/// Whether a stored value may be served instead of a failure: not to who wants a new one.
bool Coalescer::may_stand_in(const RunPolicy& policy, const store::RecordHeader& header) const {
  return !policy.force &&
         refresh::may_stand_in(header, policy.failure.on_error, policy.windows, clock_->now());
}

/// What is served instead of `failure`, if anything is.
Result<std::optional<RunResult>> Coalescer::stand_in(const Request& request, Error failure) const {
  CACHECTL_ASSIGN(auto found, store::find(*root_, request.key));
  if (found.entry && !may_stand_in(request.policy, found.entry->header())) {
    return std::optional<RunResult>();
  }
  CACHECTL_ASSIGN(auto value, usable(std::move(found), store::Place::entry, request.source));
  if (!value) return std::optional<RunResult>();
  const auto age = clock_->now() - value->entry.header().created;
  failure.message += "; serving the value of " + config::format_duration(age) + " ago";
  auto result = serve(std::move(*value), How::stale, What::stand_in, request.sink, request.asked);
  result.source_failed = std::move(failure);
  return std::optional(std::move(result));
}

/// The outcome of somebody else's attempt is ours.
Result<RunResult> Coalescer::settle(const Request& request, Value value) const {
  if (value.is_failure) {
    CACHECTL_ASSIGN(auto instead, stand_in(request, failure_of(value.entry)));
    if (instead) return std::move(*instead);
  }
  return serve(std::move(value), How::shared, What::shared, request.sink, request.asked);
}

/// What refresh_behind does in the process that it starts.
void Coalescer::refresh_detached(const Key& key, const Source& source, const RunPolicy& policy,
                                 store::Generation generation) const {
  std::vector<int> kept{root_->directory().descriptor()};
  for (const auto& outer : root_->locks().outer()) kept.push_back(outer.descriptor);
  if (!lock::detach(std::move(kept))) return;
  root_->tell_left_caller();
  auto held = store::acquire(*root_, store::slot_of(key.hash()), key.bytes(), lock::Mode::exclusive,
                             lock::Deadline::immediately(), lock::shell_quoted(source.argv));
  if (!held || !*held) return;
  const auto seen = look(key);
  if (!seen || Seen::number(seen->record) != generation) return;
  if (seen->ended_without_value() && remembered_failure(policy, *seen->attempt)) return;
  bool started = false;
  const Sink nowhere;
  const Request request{key, source, policy, nowhere, started};
  const bool is_fresh = seen->record && state_of(seen->record->header(), seen->record->last_used(),
                                                 policy.windows, clock_->now()) == State::fresh;
  root_->tell(
      {is_fresh ? What::early_refresh : What::stale_refresh, key.bytes(), {}, {}, 0, generation});
  // What becomes of it is in the record, or in the attempt.
  const auto made = lead(request, std::move(**held));
  root_->tell({What::refresh_ended,
               key.bytes(),
               request.asked.elapsed(),
               {},
               0,
               made ? made->generation : 0,
               made ? made->status.value : 0});
}

Result<bool> Coalescer::refresh_behind(const Key& key, const Source& source,
                                       const RunPolicy& policy, store::Generation generation,
                                       Child child) const {
  // Hints that spare most callers a fork; the process finds out for itself.
  CACHECTL_ASSIGN(const bool held, root_->locks().is_held(store::slot_of(key.hash())));
  if (held) return false;
  CACHECTL_ASSIGN(const auto attempt, store::find_attempt(*root_, key));
  const bool is_last = Seen::number(attempt.entry) > generation;
  if (is_last && remembered_failure(policy, *attempt.entry)) return false;
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error("fork"));
  if (pid == 0) {
    if (child == Child::ours || ::fork() == 0) refresh_detached(key, source, policy, generation);
    ::_exit(0);
  }
  if (child == Child::orphan) lock::retry([&] { return ::waitpid(pid, nullptr, 0); });
  return true;
}

Result<RunResult> Coalescer::ask(const Request& request) const {
  const auto slot = store::slot_of(request.key.hash());
  const auto& deadline = request.policy.deadline;
  const auto key = std::string_view(request.key.bytes());
  const auto lead_lock = [&](const lock::Deadline& until) {
    return store::acquire(*root_, slot, key, lock::Mode::exclusive, until, request.what());
  };
  CACHECTL_ASSIGN(auto held, lead_lock(lock::Deadline::immediately()));
  if (!held) {
    // Held for a look only, so that it says nothing about how long locks are held.
    const telemetry::Stopwatch waiting;
    CACHECTL_ASSIGN(auto waited,
                    root_->locks().acquire(slot, lock::Mode::shared, deadline, request.what()));
    const auto what = waited ? What::lock_acquired : What::lock_timed_out;
    root_->tell({what, key, waiting.elapsed()});
    if (!waited) return timed_out(request);
    CACHECTL_ASSIGN(auto value, answer(request));
    waited.reset();  // before a slow consumer can make others wait
    if (value) return settle(request, std::move(*value));
    CACHECTL_ASSIGN(held, lead_lock(deadline));
    if (!held) return timed_out(request);
  }
  CACHECTL_ASSIGN(auto value, answer(request));
  if (!value) return lead(request, std::move(*held));
  held.reset();
  return settle(request, std::move(*value));
}

Result<RunResult> Coalescer::timed_out(const Request& request) const {
  Error why = store::gave_up_waiting(*root_, store::slot_of(request.key.hash()),
                                     "'" + request.key.printable() + "'", *clock_);
  CACHECTL_ASSIGN(auto instead, stand_in(request, why));
  if (instead) return std::move(*instead);
  if (request.policy.on_timeout == OnTimeout::fail || request.source.makes_tree) {
    return fail(std::move(why));
  }
  (*warn_)(std::move(why).advising("running uncached"));
  root_->tell({What::uncached, request.key.bytes()});
  return run_uncached(request.key, request.source, request.policy, request.sink);
}

}  // namespace cachectl::refresh
