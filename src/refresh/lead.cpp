// The leader: runs the source under the key's lock, and publishes what came of it.
#include <algorithm>
#include <thread>
#include <tuple>

#include "src/refresh/request.hpp"

namespace cachectl::refresh {

using telemetry::What;

namespace {

/// As timeout(1).
constexpr int kTimedOut = 124;
constexpr int kEmpty = 1;

/// Exponential, "equal jitter": half of the pause is drawn.
std::chrono::nanoseconds pause_before(std::uint64_t retry, const FailurePolicy& policy) {
  constexpr std::chrono::nanoseconds kLongest = std::chrono::minutes(1);
  auto pause = std::min(policy.retry_delay, kLongest);
  for (std::uint64_t each = 1; each < retry && pause < kLongest; ++each) pause *= 2;
  pause = std::min(pause, kLongest);
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(static_cast<double>(pause.count()) * (0.5 + draw() / 2)));
}

}  // namespace

/// A value while its source is at work.
struct Coalescer::Making {
  std::optional<store::StagedTree> staged;  // nothing: the value is to be bytes
  std::optional<store::Tree> previous;      // pinned, for the source to update from
  std::uint64_t previous_size = 0;
  bool still_holds = false;  // the source has said "not modified", and that was recorded
};

/// What a leader found.
struct Coalescer::Past {
  store::Generation generation = 0;  ///< of what he makes
  std::uint32_t failures = 0;        ///< in a row, before this attempt
  bool has_value = false;            ///< whatever its age
  bool has_stand_in = false;         ///< a value that is served should he fail
};

/// One start of the source.
struct Coalescer::Attempt {
  RunResult result;
  std::optional<Error> failure;  ///< how the source failed
  bool still_holds = false;      ///< the value is the one before
  bool is_over = true;           ///< published, and the lock is no longer ours
};

void tell_key(const Key& key, std::vector<std::string>& environment) {
  if (key.bytes().find('\0') != std::string::npos) return;
  environment.push_back("CACHECTL_KEY=" + key.bytes());
}

Result<Coalescer::Past> Coalescer::look_back(const Request& request) const {
  CACHECTL_ASSIGN(const Seen seen, look(request.key));
  Past past;
  past.generation = store::next_generation(
      std::max(Seen::number(seen.record), Seen::number(seen.attempt)), clock_->now());
  if (seen.ended_without_value()) past.failures = seen.attempt->header().failures;
  past.has_value = seen.record.has_value();
  past.has_stand_in = seen.record && may_stand_in(request.policy, seen.record->header());
  return past;
}

Result<Coalescer::Making> Coalescer::prepare_tree(const Request& request) const {
  Making making;
  if (!request.source.makes_tree) return making;
  CACHECTL_ASSIGN(auto staged, store::StagedTree::create(*root_));
  making.staged.emplace(std::move(staged));
  CACHECTL_ASSIGN(const auto last, store::find(*root_, request.key, store::Want::header));
  if (last.entry && last.entry->header().kind == store::Kind::tree) {
    CACHECTL_ASSIGN(making.previous, store::pin_tree(*root_, request.key.hash(),
                                                     last.entry->header().tree_generation));
    making.previous_size = last.entry->header().tree_size;
  }
  return making;
}

Hold Coalescer::hold_of(const Request& request, const lock::HeldLock& held, const Making& making,
                        const Past& past) const {
  Hold hold;
  hold.descriptors.push_back(held.descriptor());
  if (making.staged) {
    hold.descriptors.push_back(making.staged->descriptor());
    hold.environment.push_back("CACHECTL_OUTPUT=" + making.staged->value_path());
    // Set in any case: an outer source's is none of ours.
    hold.environment.push_back("CACHECTL_PREVIOUS=" +
                               (making.previous ? making.previous->path() : std::string()));
  }
  // A source may itself use the cache, also under its own key.
  hold.environment.push_back("CACHECTL_LOCK=" + lock::encode(held.handed_down()));
  tell_key(request.key, hold.environment);
  hold.environment.push_back("CACHECTL_GENERATION=" + std::to_string(past.generation));
  return hold;
}

/// For those who wait, and for as long as a failure is to be remembered.
Result<void> Coalescer::publish_outcome(const Request& request, store::RecordWriter& writer,
                                        store::RecordHeader header, bool failed,
                                        const Past& past) const {
  const auto& [windows, failure, now] =
      std::tie(request.policy.windows, request.policy.failure, header.created);
  header.expires = now;
  header.stale_while_revalidate = header.stale_if_error = std::chrono::nanoseconds(0);
  if (failed) {
    header.failures = past.failures + 1;
    if (windows.ttl_by_status.contains(header.exit_status)) {
      header.expires = later(now, windows.ttl_of(header.exit_status));
    }
    if (failure.breaker_failures != std::numeric_limits<std::uint64_t>::max()) {
      header.expires = std::max(header.expires, later(now, failure.breaker_cool_down));
    }
  }
  return writer.publish(header, store::Place::attempt, lock::Durability::none);
}

/// Publishes the bytes that are stored once more, with another header; false: there are none.
Result<bool> Coalescer::publish_again(const Request& request, store::RecordHeader header) const {
  CACHECTL_ASSIGN(auto last, store::find(*root_, request.key));
  if (!last.entry || last.entry->header().kind != store::Kind::bytes) return false;
  if (auto verified = last.entry->verify(); !verified) {
    if (verified.error().code != Errc::corrupt) return fail(std::move(verified).error());
    (*warn_)(verified.error());
    return false;
  }
  CACHECTL_ASSIGN(auto writer,
                  store::RecordWriter::create(*root_, request.key, request.policy.durability));
  CACHECTL_TRY(last.entry->each_block(
      store::Stream::output, [&](lock::Bytes block) { return writer.append_output(block); }));
  CACHECTL_TRY(last.entry->each_block(
      store::Stream::errors, [&](lock::Bytes block) { return writer.append_errors(block); }));
  header.exit_status = last.entry->header().exit_status;
  CACHECTL_TRY(writer.publish(header, store::Place::entry, request.policy.durability));
  root_->tell({What::published,
               request.key.bytes(),
               header.source_duration,
               {},
               last.entry->header().output_size,
               header.generation,
               header.exit_status});
  return true;
}

Result<store::Generation> Coalescer::publish(const Request& request, store::RecordWriter& writer,
                                             Making& making, const Captured& captured, bool failed,
                                             const Past& past) const {
  const auto& policy = request.policy;
  // The source itself may have published under its key while it ran.
  CACHECTL_ASSIGN(const auto newest, store::newest(*root_, request.key));
  store::RecordHeader header;
  header.generation = std::max(past.generation, newest.generation + 1);
  header.created = clock_->now();
  header.source_duration = captured.duration;
  header.exit_status = captured.status.value;
  const auto ttl = lifetime(policy.windows, captured.status.value, draw());
  header.expires = later(header.created, ttl);
  header.stale_while_revalidate = policy.windows.stale_while_revalidate;
  header.stale_if_error = policy.failure.on_error == OnError::last_good
                              ? std::chrono::nanoseconds::max()
                              : policy.windows.stale_if_error;
  const bool not_modified = !failed && request.source.not_modified == captured.status.value;
  if (not_modified && !making.staged) {
    CACHECTL_ASSIGN(making.still_holds, publish_again(request, header));
    if (making.still_holds) return header.generation;
  }
  const bool tree_holds = not_modified && making.previous;
  const bool tree_made = !failed && making.staged && captured.status.value == 0;
  const bool bytes_made =
      !failed && !making.staged && ttl.count() > 0 && policy.store.stores(captured.status);
  if (tree_holds) {
    header.kind = store::Kind::tree;
    header.tree_generation = making.previous->generation();
    header.tree_size = making.previous_size;
    header.exit_status = 0;
  }
  if (!tree_holds && !tree_made && !bytes_made) {
    CACHECTL_TRY(publish_outcome(request, writer, header, failed, past));
    return header.generation;
  }
  if (tree_made) CACHECTL_TRY(making.staged->seal(policy.durability));
  CACHECTL_TRY(store::publish(*root_, request.key, tree_made ? &*making.staged : nullptr, writer,
                              header, newest.tree, policy.retention, policy.durability));
  return header.generation;
}

void Coalescer::tell_failure(const Request& request, What what, const Captured& ended,
                             const Past& past) const {
  root_->tell(
      {what, request.key.bytes(), ended.duration, {}, 0, past.generation, ended.status.value});
}

/// A source that cannot be started is a failure like any other for those who wait.
void Coalescer::publish_failed_start(const Request& request, store::RecordWriter& writer,
                                     const Past& past, const Error& why) const {
  store::RecordHeader header;
  header.generation = past.generation;
  header.created = clock_->now();
  header.exit_status = why.code == Errc::not_found ? 127 : 126;
  const auto text = "cachectl: " + why.describe() + "\n";
  if (!writer.append_errors(lock::bytes_of(text)) || !writer.flush()) return;
  // Who waits and hears nothing tries it himself.
  static_cast<void>(publish_outcome(request, writer, header, true, past));
}

std::optional<Error> failure_in(const Source& source, const RunPolicy& policy,
                                const Captured& captured, bool has_value) {
  const int status = captured.status.value;
  if (captured.timed_out) return captured.timed_out;
  const bool is_empty = policy.failure.empty_is_failure && captured.output_size == 0;
  if (status == 0 && !source.makes_tree && is_empty) {
    return Error{Errc::io, 0, "the source ended with status 0 and printed nothing", {}};
  }
  const bool is_made = source.makes_tree ? status == 0 : policy.store.stores(captured.status);
  if (is_made || (has_value && source.not_modified == status)) return std::nullopt;
  return Error{Errc::io, 0, "the source failed with status " + std::to_string(status), {}};
}

Result<Coalescer::Attempt> Coalescer::attempt(const Request& request, lock::HeldLock& held,
                                              const Past& past, bool is_last) const {
  auto writer = store::RecordWriter::create(*root_, request.key, request.policy.durability);
  // Where that is a failure (a full disk), the source runs all the same, and alone: nobody
  // can get the result of it, so whoever waits for it runs it in his turn.
  if (!writer && (writer.error().code != Errc::io || request.source.makes_tree)) {
    return fail(std::move(writer).error());
  }
  CACHECTL_ASSIGN(Making making, prepare_tree(request));
  request.started = true;
  root_->tell({What::source_started, request.key.bytes(), {}, {}, 0, past.generation});
  Attempt done;
  RunResult& result = done.result;
  result.how = How::ran;
  const auto on_end = [&](const Captured& ended) {
    root_->tell({What::source_ended,
                 request.key.bytes(),
                 ended.duration,
                 {},
                 ended.output_size,
                 past.generation,
                 ended.status.value});
    if (ended.interrupted_by != 0) {
      // Half a result, and maybe processes of the source that live on: they keep the lock.
      held.leave_to_children();
      return true;
    }
    done.failure = failure_in(request.source, request.policy, ended, past.has_value);
    if (done.failure) {
      const auto what = ended.timed_out           ? What::failed_timeout
                        : ended.status.value == 0 ? What::failed_empty
                                                  : What::failed_status;
      tell_failure(request, what, ended, past);
    }
    done.is_over = !done.failure || is_last;
    if (!done.is_over) return false;
    Captured captured = ended;
    if (ended.timed_out) captured.status = {kTimedOut, 0};
    if (done.failure && captured.status.value == 0) captured.status = {kEmpty, 0};
    if (ended.timed_out || captured.status.value != ended.status.value) {
      result.source_failed = done.failure;
      // Those who wait are told in the source's place.
      const auto text = "cachectl: " + done.failure->message + "\n";
      if (writer && !captured.not_recorded && writer->append_errors(lock::bytes_of(text))) {
        static_cast<void>(writer->flush());
      }
    }
    const auto published = [&]() -> Result<store::Generation> {
      if (!writer) return fail(writer.error());
      if (captured.not_recorded) return fail(*captured.not_recorded);
      CACHECTL_TRY(held.still_valid());
      return publish(request, *writer, making, captured, done.failure.has_value(), past);
    }();
    if (published) {
      result.generation = *published;
    } else {
      result.not_stored = published.error();
      tell_failure(request, What::failed_store, ended, past);
    }
    result.status = captured.status;
    held.release();
    done.still_holds = making.still_holds;
    return !done.still_holds && (!done.failure || !past.has_stand_in);
  };
  Sink sink = request.sink;
  sink.hold_back = past.has_stand_in || request.policy.failure.retries > 0 ||
                   (past.has_value && request.source.not_modified);
  auto captured = capture(request.source, hold_of(request, held, making, past), sink,
                          writer ? &*writer : nullptr, root_, request.policy.pass_signals, on_end);
  if (!captured) {
    const auto code = captured.error().code;
    if (code != Errc::not_found && code != Errc::not_runnable) return fail(captured.error());
    Captured none;
    none.status = {code == Errc::not_found ? 127 : 126, 0};
    tell_failure(request, What::failed_start, none, past);
    if (writer) publish_failed_start(request, *writer, past, captured.error());
    held.release();
    CACHECTL_ASSIGN(auto instead, stand_in(request, captured.error()));
    if (!instead) return fail(std::move(captured).error());
    done.result = std::move(*instead);
    return done;
  }
  if (captured->interrupted_by != 0) result.status = captured->status;
  result.interrupted_by = captured->interrupted_by;
  result.not_passed_on = std::move(captured->not_passed_on);
  return done;
}

/// What another machine has made, which is now ours.
Result<std::optional<Coalescer::Value>> Coalescer::taken(const Request& request) const {
  CACHECTL_ASSIGN(auto found, store::find(*root_, request.key));
  // Fresh by the maker's windows; the caller's may be narrower.
  if (!found.entry || !is_new_enough(request.policy, *found.entry)) return std::optional<Value>();
  return usable(std::move(found), store::Place::entry, request.source);
}

Result<RunResult> Coalescer::lead(const Request& request, lock::HeldLock held) const {
  const auto* shared = shared_ ? shared_() : nullptr;
  if (shared == nullptr) return make(request, std::move(held));
  const auto& policy = request.policy;
  Shared::Turn<Value> turn;
  const bool asks = !policy.force || policy.forced_before != kNever;
  if (!asks && policy.coordination == Coordination::fleet) {
    turn.lease = shared->lead(request.key, policy.deadline);
  } else if (asks) {
    CACHECTL_ASSIGN(turn,
                    shared->take_or_lead<Value>(request.key, policy.retention, policy.coordination,
                                                policy.deadline, [&] { return taken(request); }));
  }
  if (turn.value) {
    held.release();
    return serve(std::move(*turn.value), How::shared, What::shared, request.sink, request.asked);
  }
  auto made = make(request, std::move(held));
  const bool is_stored = made && made->how == How::ran && made->generation != 0 &&
                         !made->not_stored && made->interrupted_by == 0;
  if (is_stored) shared->give(request.key, turn.lease.get());
  return made;
}

Result<RunResult> Coalescer::make(const Request& request, lock::HeldLock held) const {
  CACHECTL_ASSIGN(const Past past, look_back(request));
  const auto retries = request.policy.failure.retries;
  for (std::uint64_t retry = 0;; ++retry) {
    CACHECTL_ASSIGN(auto attempted, attempt(request, held, past, retry == retries));
    auto& [result, failure, still_holds, is_over] = attempted;
    if (!is_over) {
      failure->advice = "trying again";
      (*warn_)(*failure);
      std::this_thread::sleep_for(pause_before(retry + 1, request.policy.failure));
      continue;
    }
    if (failure && past.has_stand_in) {
      CACHECTL_ASSIGN(auto instead, stand_in(request, *failure));
      if (instead) return std::move(*instead);
    }
    if (still_holds) {
      CACHECTL_ASSIGN(auto found, store::find(*root_, request.key));
      CACHECTL_ASSIGN(auto value, usable(std::move(found), store::Place::entry, request.source));
      if (value) return replay(std::move(*value), How::ran, request.sink);
    }
    const bool made = !failure && !result.not_stored && result.interrupted_by == 0;
    if (!request.source.makes_tree || !made) return std::move(result);
    CACHECTL_ASSIGN(const auto newest, store::find(*root_, request.key, store::Want::header));
    const bool is_tree = newest.entry && newest.entry->header().kind == store::Kind::tree;
    if (is_tree && newest.entry->header().generation >= result.generation) {
      CACHECTL_ASSIGN(result.tree, store::pin_tree(*root_, request.key.hash(),
                                                   newest.entry->header().tree_generation));
      result.status = {};
    }
    return std::move(result);
  }
}

}  // namespace cachectl::refresh
