#include "src/refresh/coalesce.hpp"

#include <algorithm>

namespace cachectl::refresh {

/// What was there when we looked; 0: nothing.
struct Coalescer::Seen {
  std::optional<store::Entry> record;
  std::optional<store::Entry> attempt;

  [[nodiscard]] static store::Generation number(const std::optional<store::Entry>& entry) {
    return entry ? entry->header().generation : 0;
  }
};

/// One call of run, with what it saw when it asked.
struct Coalescer::Request {
  const Key& key;
  const Source& source;
  const RunPolicy& policy;
  const Sink& sink;
  bool& started;  // from then on there is no other way
  store::Generation seen_record;
  store::Generation seen_attempt;

  [[nodiscard]] std::string what() const { return lock::shell_quoted(source.argv); }
};

bool StorePolicy::stores(const lock::ExitStatus& status) const {
  if (status.by_signal()) return false;
  if (only_success) return status.value == 0;
  return std::find(never_these.begin(), never_these.end(), status.value) == never_these.end();
}

bool can_do_without(const Error& error) {
  return error.code == Errc::read_only || error.code == Errc::permission || error.code == Errc::io;
}

Result<RunResult> run_without(const Source& source, const RunPolicy& policy, const Sink& sink,
                              Error why, const Warn& warn) {
  const bool is_failure = why.code == Errc::io;
  if (!is_failure) warn(Error(why).within("the cache cannot be written, running uncached"));
  CACHECTL_ASSIGN(auto result, run_uncached(source, policy, sink));
  if (is_failure) result.not_stored = std::move(why);
  return result;
}

/// What answers a request, checked.
struct Coalescer::Value {
  store::Entry entry;
  std::optional<store::Tree> tree;
};

/// A tree while its source is at work.
struct Coalescer::Making {
  std::optional<store::StagedTree> staged;  // nothing: the value is to be bytes
  std::optional<store::Tree> previous;      // pinned, for the source to update from
  std::uint64_t previous_size = 0;
};

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

Result<RunResult> run_uncached(const Source& source, const RunPolicy& policy, const Sink& sink) {
  CACHECTL_ASSIGN(Captured captured, capture(source, {}, sink, nullptr, nullptr,
                                             policy.pass_signals, [](const Captured&) {}));
  RunResult result;
  result.how = How::uncached;
  result.status = captured.status;
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
  const bool is_failure = from == store::Place::attempt && header.exit_status != 0;
  if (!is_failure && source.makes_tree != (header.kind == store::Kind::tree)) return nothing;
  Value value{std::move(entry), std::nullopt};
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

/// What answers the request now: a fresh value, or the outcome of an attempt that ended
/// since it was made.
Result<std::optional<Coalescer::Value>> Coalescer::answer(const Request& request) const {
  CACHECTL_ASSIGN(Seen seen, look(request.key));
  const bool attempt_is_new = seen.attempt && Seen::number(seen.attempt) != request.seen_attempt &&
                              Seen::number(seen.attempt) > Seen::number(seen.record);
  if (attempt_is_new) {
    store::Lookup lookup;
    lookup.entry = std::move(seen.attempt);
    return usable(std::move(lookup), store::Place::attempt, request.source);
  }
  const bool record_is_new = seen.record && Seen::number(seen.record) != request.seen_record;
  const bool record_is_fresh =
      seen.record && !request.policy.force &&
      store::is_fresh(seen.record->header(), clock_->now(), request.policy.ttl);
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
    return run_without(source, policy, sink, std::move(result).error(), *warn_);
  }
  return result;
}

Result<RunResult> Coalescer::run_cached(const Key& key, const Source& source,
                                        const RunPolicy& policy, const Sink& sink,
                                        bool& started) const {
  CACHECTL_ASSIGN(auto found, store::find(*root_, key));
  if (found.entry && !policy.force &&
      store::is_fresh(found.entry->header(), clock_->now(), policy.ttl)) {
    CACHECTL_ASSIGN(auto value, usable(std::move(found), store::Place::entry, source));
    if (value) return replay(std::move(*value), How::hit, sink);
  }
  CACHECTL_ASSIGN(const Seen seen, look(key));
  return ask(
      {key, source, policy, sink, started, Seen::number(seen.record), Seen::number(seen.attempt)});
}

Result<RunResult> Coalescer::ask(const Request& request) const {
  const auto& locks = root_->locks();
  const auto slot = store::slot_of(request.key.hash());
  const auto& deadline = request.policy.deadline;
  CACHECTL_ASSIGN(auto held, locks.acquire(slot, lock::Mode::exclusive,
                                           lock::Deadline::immediately(), request.what()));
  if (!held) {
    CACHECTL_ASSIGN(auto waited, locks.acquire(slot, lock::Mode::shared, deadline, request.what()));
    if (!waited) return timed_out(request);
    CACHECTL_ASSIGN(auto value, answer(request));
    waited.reset();  // before a slow consumer can make others wait
    if (value) return replay(std::move(*value), How::shared, request.sink);
    CACHECTL_ASSIGN(held, locks.acquire(slot, lock::Mode::exclusive, deadline, request.what()));
    if (!held) return timed_out(request);
  }
  CACHECTL_ASSIGN(auto value, answer(request));
  if (!value) return lead(request, std::move(*held));
  held.reset();
  return replay(std::move(*value), How::shared, request.sink);
}

Result<RunResult> Coalescer::timed_out(const Request& request) const {
  Error why = store::gave_up_waiting(*root_, store::slot_of(request.key.hash()),
                                     "'" + request.key.printable() + "'", *clock_);
  if (request.policy.on_timeout == OnTimeout::fail || request.source.makes_tree) {
    return fail(std::move(why));
  }
  (*warn_)(std::move(why).advising("running uncached"));
  return run_uncached(request.source, request.policy, request.sink);
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

Result<store::Generation> Coalescer::publish(const Request& request, store::RecordWriter& writer,
                                             Making& making, const Captured& captured,
                                             store::Generation generation) const {
  // The source itself may have published under its key while it ran.
  CACHECTL_ASSIGN(const auto newest, store::newest(*root_, request.key));
  const auto now = clock_->now();
  store::RecordHeader header;
  header.generation = std::max(generation, newest.generation + 1);
  header.created = now;
  header.expires = later(now, request.policy.ttl);
  header.source_duration = captured.duration;
  header.exit_status = captured.status.value;
  const bool not_modified = making.previous && request.source.not_modified == captured.status.value;
  const bool tree_made = making.staged && captured.status.value == 0;
  const bool bytes_made = !making.staged && request.policy.store.stores(captured.status) &&
                          request.policy.ttl.count() > 0;
  if (not_modified) {
    header.kind = store::Kind::tree;
    header.tree_generation = making.previous->generation();
    header.tree_size = making.previous_size;
    header.exit_status = 0;
  }
  if (tree_made) CACHECTL_TRY(making.staged->seal(request.policy.durability));
  if (not_modified || tree_made || bytes_made) {
    CACHECTL_TRY(store::publish(*root_, request.key, tree_made ? &*making.staged : nullptr, writer,
                                header, newest.tree, request.policy.retention,
                                request.policy.durability));
    return header.generation;
  }
  // For those who wait, and nobody else: expired from the start, and not worth a sync.
  header.expires = now;
  CACHECTL_TRY(writer.publish(header, store::Place::attempt, lock::Durability::none));
  return header.generation;
}

Result<RunResult> Coalescer::lead(const Request& request, lock::HeldLock held) const {
  CACHECTL_ASSIGN(const auto newest, store::newest(*root_, request.key));
  const auto generation = store::next_generation(newest.generation, clock_->now());
  auto writer = store::RecordWriter::create(*root_, request.key, request.policy.durability);
  // Where that is a failure (a full disk), the source runs all the same, and alone: nobody
  // can get the result of it, so whoever waits for it runs it in his turn.
  if (!writer && (writer.error().code != Errc::io || request.source.makes_tree)) {
    return fail(std::move(writer).error());
  }
  CACHECTL_ASSIGN(Making making, prepare_tree(request));

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
  if (request.key.bytes().find('\0') == std::string::npos) {
    hold.environment.push_back("CACHECTL_KEY=" + request.key.bytes());
  }
  hold.environment.push_back("CACHECTL_GENERATION=" + std::to_string(generation));

  request.started = true;
  RunResult result;
  result.how = How::ran;
  const auto on_end = [&](const Captured& captured) {
    if (captured.interrupted_by != 0) {
      // Half a result, and maybe processes of the source that live on: they keep the lock.
      held.leave_to_children();
      return;
    }
    const auto published = [&]() -> Result<store::Generation> {
      if (!writer) return fail(writer.error());
      if (captured.not_recorded) return fail(*captured.not_recorded);
      CACHECTL_TRY(held.still_valid());
      return publish(request, *writer, making, captured, generation);
    }();
    if (published) {
      result.generation = *published;
    } else {
      result.not_stored = published.error();
    }
    held.release();
  };
  CACHECTL_ASSIGN(Captured captured,
                  capture(request.source, hold, request.sink, writer ? &*writer : nullptr, root_,
                          request.policy.pass_signals, on_end));
  result.status = captured.status;
  result.interrupted_by = captured.interrupted_by;
  result.not_passed_on = std::move(captured.not_passed_on);
  if (making.staged && !result.not_stored && result.interrupted_by == 0) {
    CACHECTL_ASSIGN(const auto made, store::find(*root_, request.key, store::Want::header));
    const bool is_tree = made.entry && made.entry->header().kind == store::Kind::tree;
    if (is_tree && made.entry->header().generation >= result.generation) {
      CACHECTL_ASSIGN(result.tree, store::pin_tree(*root_, request.key.hash(),
                                                   made.entry->header().tree_generation));
      result.status = {};
    }
  }
  return result;
}

}  // namespace cachectl::refresh
