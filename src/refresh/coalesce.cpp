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
  store::Generation seen_record;
  store::Generation seen_attempt;

  [[nodiscard]] std::string what() const { return lock::shell_quoted(source.argv); }
};

bool StorePolicy::stores(const lock::ExitStatus& status) const {
  if (status.by_signal()) return false;
  if (only_success) return status.value == 0;
  return std::find(never_these.begin(), never_these.end(), status.value) == never_these.end();
}

RunResult replay(const store::Entry& entry, How how, const Sink& sink) {
  RunResult result;
  result.how = how;
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

/// The entry of a lookup if its value is whole; a damaged one is a miss with a warning.
Result<std::optional<store::Entry>> Coalescer::usable(store::Lookup lookup) const {
  if (lookup.defect) (*warn_)(*lookup.defect);
  if (!lookup.entry) return std::optional<store::Entry>();
  auto verified = lookup.entry->verify();
  if (verified) return std::move(lookup.entry);
  if (verified.error().code != Errc::corrupt) return fail(std::move(verified).error());
  (*warn_)(verified.error());
  return std::optional<store::Entry>();
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
Result<std::optional<store::Entry>> Coalescer::answer(const Request& request) const {
  CACHECTL_ASSIGN(Seen seen, look(request.key));
  const bool attempt_is_new = seen.attempt && Seen::number(seen.attempt) != request.seen_attempt &&
                              Seen::number(seen.attempt) > Seen::number(seen.record);
  if (attempt_is_new) {
    store::Lookup lookup;
    lookup.entry = std::move(seen.attempt);
    return usable(std::move(lookup));
  }
  const bool record_is_new = seen.record && Seen::number(seen.record) != request.seen_record;
  const bool record_is_fresh =
      seen.record && !request.policy.force &&
      store::is_fresh(seen.record->header(), clock_->now(), request.policy.ttl);
  if (!record_is_new && !record_is_fresh) return std::optional<store::Entry>();
  store::Lookup lookup;
  lookup.entry = std::move(seen.record);
  return usable(std::move(lookup));
}

Result<RunResult> Coalescer::run(const Key& key, const Source& source, const RunPolicy& policy,
                                 const Sink& sink) const {
  CACHECTL_ASSIGN(auto found, store::find(*root_, key));
  if (found.entry && !policy.force &&
      store::is_fresh(found.entry->header(), clock_->now(), policy.ttl)) {
    CACHECTL_ASSIGN(const auto entry, usable(std::move(found)));
    if (entry) return replay(*entry, How::hit, sink);
  }
  CACHECTL_ASSIGN(const Seen seen, look(key));
  const Request request{
      key, source, policy, sink, Seen::number(seen.record), Seen::number(seen.attempt)};
  auto result = ask(request);
  // A cache that we may read but not write can still not keep the job from its result.
  if (!result &&
      (result.error().code == Errc::read_only || result.error().code == Errc::permission)) {
    (*warn_)(std::move(result).error().within("the cache cannot be written, running uncached"));
    return run_uncached(source, policy, sink);
  }
  return result;
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
    CACHECTL_ASSIGN(const auto entry, answer(request));
    waited.reset();  // before a slow consumer can make others wait
    if (entry) return replay(*entry, How::shared, request.sink);
    CACHECTL_ASSIGN(held, locks.acquire(slot, lock::Mode::exclusive, deadline, request.what()));
    if (!held) return timed_out(request);
  }
  CACHECTL_ASSIGN(const auto entry, answer(request));
  if (!entry) return lead(request, std::move(*held));
  held.reset();
  return replay(*entry, How::shared, request.sink);
}

Result<RunResult> Coalescer::timed_out(const Request& request) const {
  Error why = store::gave_up_waiting(*root_, store::slot_of(request.key.hash()),
                                     "'" + request.key.printable() + "'", *clock_);
  if (request.policy.on_timeout == OnTimeout::fail) return fail(std::move(why));
  (*warn_)(std::move(why).advising("running uncached"));
  return run_uncached(request.source, request.policy, request.sink);
}

Result<store::Generation> Coalescer::publish(const Request& request, store::RecordWriter& writer,
                                             const Captured& captured,
                                             store::Generation generation) const {
  // The source itself may have published under its key while it ran.
  CACHECTL_ASSIGN(const auto newest, store::newest_generation(*root_, request.key));
  const auto now = clock_->now();
  store::RecordHeader header;
  header.generation = std::max(generation, newest + 1);
  header.created = now;
  header.expires = later(now, request.policy.ttl);
  header.source_duration = captured.duration;
  header.exit_status = captured.status.value;
  if (request.policy.store.stores(captured.status) && request.policy.ttl.count() > 0) {
    CACHECTL_TRY(writer.publish(header, store::Place::entry, request.policy.durability));
    return header.generation;
  }
  // For those who wait, and nobody else: expired from the start, and not worth a sync.
  header.expires = now;
  CACHECTL_TRY(writer.publish(header, store::Place::attempt, lock::Durability::none));
  return header.generation;
}

Result<RunResult> Coalescer::lead(const Request& request, lock::HeldLock held) const {
  CACHECTL_ASSIGN(const auto newest, store::newest_generation(*root_, request.key));
  const auto generation = store::next_generation(newest, clock_->now());
  auto writer = store::RecordWriter::create(*root_, request.key, request.policy.durability);
  if (!writer &&
      (writer.error().code == Errc::read_only || writer.error().code == Errc::permission ||
       writer.error().code == Errc::refused)) {
    return fail(std::move(writer).error());
  }

  Hold hold;
  hold.descriptors.push_back(held.descriptor());
  // A source may itself use the cache, also under its own key.
  hold.environment.push_back("CACHECTL_LOCK=" + lock::encode(held.handed_down()));
  if (request.key.bytes().find('\0') == std::string::npos) {
    hold.environment.push_back("CACHECTL_KEY=" + request.key.bytes());
  }
  hold.environment.push_back("CACHECTL_GENERATION=" + std::to_string(generation));

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
      return publish(request, *writer, captured, generation);
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
  return result;
}

}  // namespace cachectl::refresh
