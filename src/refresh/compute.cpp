#include "src/refresh/compute.hpp"

#include <algorithm>
#include <exception>
#include <tuple>

#include "src/store/trees.hpp"

namespace cachectl::refresh {

using telemetry::What;

namespace {

store::Generation number_of(const std::optional<store::Entry>& entry) {
  return entry ? entry->header().generation : 0;
}

Error with_text_of(const store::Entry& attempt) {
  const auto text = attempt.read(store::Stream::errors);
  auto message = text.value_or(std::string());
  while (!message.empty() && message.back() == '\n') message.pop_back();
  if (message.empty()) {
    message = "the source failed with status " + std::to_string(attempt.header().exit_status);
  }
  return {Errc::io, 0, std::move(message), {}};
}

}  // namespace

Result<std::string> call(const Make& make) {
  try {
    return make();
  } catch (const std::exception& thrown) {
    return fail(Errc::io, std::string("the function that makes the value threw: ") + thrown.what());
  } catch (...) {
    return fail(Errc::io, "the function that makes the value threw what is no std::exception");
  }
}

Result<Computed> compute_uncached(const Make& make, Error why, const Warn& warn) {
  if (warn) warn(std::move(why).within("the cache cannot be used, computing uncached"));
  CACHECTL_ASSIGN(auto output, call(make));
  Computed made;
  made.how = How::uncached;
  made.header.output_size = output.size();
  made.output = std::move(output);
  return made;
}

/// One call, and what was there when it was made.
struct Computer::Asked {
  const Key& key;
  const ComputePolicy& policy;
  const Make& make;
  store::Generation record = 0;
  store::Generation attempt = 0;
  store::Generation expired = 0;  ///< the record that was too old
  telemetry::Stopwatch since = {};
};

/// The value in a record, if it is whole and bytes.
Result<std::optional<Computed>> Computer::read(store::Lookup lookup, How how) const {
  std::optional<Computed> nothing;
  if (lookup.defect) (*warn_)(*lookup.defect);
  if (!lookup.entry || lookup.entry->header().kind != store::Kind::bytes) return nothing;
  if (auto verified = lookup.entry->verify(); !verified) {
    if (verified.error().code != Errc::corrupt) return fail(std::move(verified).error());
    (*warn_)(verified.error());
    return nothing;
  }
  CACHECTL_ASSIGN(auto output, lookup.entry->read(store::Stream::output));
  return std::optional(Computed{how, lookup.entry->header(), std::move(output), false});
}

Result<Computed> Computer::compute(const Key& key, const ComputePolicy& policy,
                                   const Make& make) const {
  Asked asked{key, policy, make};
  bool started = false;
  auto attempted = [&]() -> Result<Computed> {
    CACHECTL_ASSIGN(auto found, store::find(*root_, key));
    asked.record = number_of(found.entry);
    if (found.entry) {
      const auto header = found.entry->header();
      const auto now = clock_->now();
      const auto state = state_of(header, found.entry->last_used(), policy.windows, now);
      if (state == State::expired) {
        asked.expired = header.generation;
      } else {
        const auto how = state == State::fresh ? How::hit : How::stale;
        CACHECTL_ASSIGN(auto value, read(std::move(found), how));
        if (value) {
          value->refresh_due =
              how == How::stale || refreshes_early(header, policy.windows, now, draw());
          root_->tell({how == How::hit ? What::hit : What::stale_hit, key.bytes(),
                       asked.since.elapsed(), header.source_duration, header.output_size,
                       header.generation, header.exit_status});
          return std::move(*value);
        }
      }
    }
    root_->tell({What::miss, key.bytes()});
    CACHECTL_ASSIGN(const auto attempt, store::find_attempt(*root_, key, store::Want::header));
    asked.attempt = number_of(attempt.entry);
    return ask(asked, started);
  }();
  if (attempted || started || !can_do_without(attempted.error())) return attempted;
  root_->tell({What::uncached, key.bytes()});
  return compute_uncached(make, attempted.error(), *warn_);
}

/// What answers now: a fresh value, or the outcome of an attempt that ended since we asked.
Result<std::optional<Computed>> Computer::answer(const Asked& asked) const {
  CACHECTL_ASSIGN(auto record, store::find(*root_, asked.key));
  CACHECTL_ASSIGN(auto attempt, store::find_attempt(*root_, asked.key));
  const auto newest = number_of(attempt.entry);
  if (newest > number_of(record.entry) && newest != asked.attempt) {
    const bool failed = attempt.entry->header().failures > 0;
    if (failed && attempt.entry->verify()) {
      CACHECTL_ASSIGN(auto instead, or_stand_in(asked, with_text_of(*attempt.entry)));
      return std::optional(std::move(instead));
    }
    if (!failed) return read(std::move(attempt), How::shared);
  }
  const auto generation = number_of(record.entry);
  const bool is_new = record.entry && generation != asked.record;
  const bool is_fresh = record.entry && generation != asked.expired &&
                        state_of(record.entry->header(), record.entry->last_used(),
                                 asked.policy.windows, clock_->now()) == State::fresh;
  if (!is_new && !is_fresh) return std::optional<Computed>();
  return read(std::move(record), How::shared);
}

/// A stale value where one may be served in place of a failure, else the failure.
Result<Computed> Computer::or_stand_in(const Asked& asked, Error failure) const {
  auto found = store::find(*root_, asked.key);
  if (!found || !found->entry ||
      !may_stand_in(found->entry->header(), asked.policy.on_error, asked.policy.windows,
                    clock_->now())) {
    return fail(std::move(failure));
  }
  auto value = read(std::move(*found), How::stale);
  if (!value || !*value) return fail(std::move(failure));
  (*warn_)(std::move(failure).advising("serving a stale value"));
  root_->tell({What::stand_in,
               asked.key.bytes(),
               asked.since.elapsed(),
               {},
               (*value)->header.output_size,
               (*value)->header.generation});
  return std::move(**value);
}

Result<Computed> Computer::ask(const Asked& asked, bool& started) const {
  const auto slot = store::slot_of(asked.key.hash());
  const auto key = std::string_view(asked.key.bytes());
  const auto& deadline = asked.policy.deadline;
  const auto timed_out = [&] {
    return or_stand_in(
        asked, store::gave_up_waiting(*root_, slot, "'" + asked.key.printable() + "'", *clock_));
  };
  constexpr std::string_view kWho = "a function of a program";
  const auto lead_lock = [&](const lock::Deadline& until) {
    return store::acquire(*root_, slot, key, lock::Mode::exclusive, until, kWho);
  };
  const auto share = [&](Computed value) -> Result<Computed> {
    root_->tell({What::shared,
                 key,
                 asked.since.elapsed(),
                 {},
                 value.header.output_size,
                 value.header.generation,
                 value.header.exit_status});
    return value;
  };
  CACHECTL_ASSIGN(auto held, lead_lock(lock::Deadline::immediately()));
  if (!held) {
    CACHECTL_ASSIGN(auto waited, root_->locks().acquire(slot, lock::Mode::shared, deadline, kWho));
    if (!waited) return timed_out();
    // From here on an error may be that of the attempt that we waited for.
    started = true;
    CACHECTL_ASSIGN(auto value, answer(asked));
    started = false;
    waited.reset();
    if (value) return share(std::move(*value));
    CACHECTL_ASSIGN(held, lead_lock(deadline));
    if (!held) return timed_out();
  }
  started = true;
  CACHECTL_ASSIGN(auto value, answer(asked));
  if (!value) return lead(asked, std::move(*held), started);
  held.reset();
  return share(std::move(*value));
}

Result<void> Computer::publish(const Asked& asked, const lock::HeldLock& held,
                               Computed& made) const {
  const auto& [key, policy] = std::tie(asked.key, asked.policy);
  // The function itself may have published under its key.
  CACHECTL_ASSIGN(const auto newest, store::newest(*root_, key));
  auto& header = made.header;
  header.generation = std::max(header.generation, newest.generation + 1);
  header.created = clock_->now();
  const auto ttl = lifetime(policy.windows, 0, draw());
  header.expires = later(header.created, ttl);
  header.stale_while_revalidate = policy.windows.stale_while_revalidate;
  header.stale_if_error = policy.on_error == OnError::last_good ? std::chrono::nanoseconds::max()
                                                                : policy.windows.stale_if_error;
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(*root_, key, policy.durability));
  CACHECTL_TRY(writer.append_output(lock::bytes_of(made.output)));
  CACHECTL_TRY(held.still_valid());
  if (ttl.count() <= 0) {
    header.expires = header.created;
    return writer.publish(header, store::Place::attempt, lock::Durability::none);
  }
  return store::publish(*root_, key, nullptr, writer, header, newest.tree, {}, policy.durability);
}

/// For those who wait. Who hears nothing tries it himself.
void Computer::publish_failure(const Asked& asked, store::RecordHeader header,
                               const Error& why) const {
  header.created = header.expires = clock_->now();
  header.exit_status = 1;
  auto writer = store::RecordWriter::create(*root_, asked.key, lock::Durability::none);
  if (!writer || !writer->append_errors(lock::bytes_of(why.describe() + "\n"))) return;
  static_cast<void>(writer->publish(header, store::Place::attempt, lock::Durability::none));
}

/// What another machine has made, which is now ours.
Result<std::optional<Computed>> Computer::taken(const Asked& asked) const {
  CACHECTL_ASSIGN(auto found, store::find(*root_, asked.key));
  if (!found.entry || state_of(found.entry->header(), found.entry->last_used(),
                               asked.policy.windows, clock_->now()) != State::fresh) {
    return std::optional<Computed>();
  }
  return read(std::move(found), How::shared);
}

Result<Computed> Computer::lead(const Asked& asked, lock::HeldLock held, bool& started) const {
  bool stored = false;
  const auto* shared = shared_ ? shared_() : nullptr;
  if (shared == nullptr) return make(asked, held, started, stored);
  const auto& policy = asked.policy;
  CACHECTL_ASSIGN(
      auto turn, shared->take_or_lead<Computed>(asked.key, {}, policy.coordination, policy.deadline,
                                                [&] { return taken(asked); }));
  if (turn.value) return std::move(*turn.value);
  auto made = make(asked, held, started, stored);
  held.release();
  if (stored) shared->give(asked.key, turn.lease.get());
  return made;
}

Result<Computed> Computer::make(const Asked& asked, const lock::HeldLock& held, bool& started,
                                bool& stored) const {
  const auto key = std::string_view(asked.key.bytes());
  CACHECTL_ASSIGN(const auto record, store::find(*root_, asked.key, store::Want::header));
  CACHECTL_ASSIGN(const auto attempt, store::find_attempt(*root_, asked.key, store::Want::header));
  const auto last = number_of(attempt.entry);
  Computed made;
  made.how = How::ran;
  made.header.generation =
      store::next_generation(std::max(number_of(record.entry), last), clock_->now());
  made.header.failures = last > number_of(record.entry) ? attempt.entry->header().failures : 0;
  started = true;
  root_->tell({What::source_started, key, {}, {}, 0, made.header.generation});
  const telemetry::Stopwatch running;
  auto output = call(asked.make);
  made.header.source_duration = running.elapsed();
  root_->tell({output ? What::source_ended : What::failed_status,
               key,
               running.elapsed(),
               {},
               output ? output->size() : 0,
               made.header.generation,
               output ? 0 : 1});
  if (!output) {
    ++made.header.failures;
    publish_failure(asked, made.header, output.error());
    return or_stand_in(asked, std::move(output).error());
  }
  made.header.failures = 0;
  made.output = std::move(*output);
  made.header.output_size = made.output.size();
  auto published = publish(asked, held, made);
  stored = published && made.header.expires > made.header.created;
  if (!published) {
    root_->tell({What::failed_store, key, running.elapsed(), {}, 0, made.header.generation});
    (*warn_)(std::move(published).error().within("the value was made, but not stored"));
  }
  return made;
}

Result<std::optional<Computed>> Computer::compute_anew(const Key& key, const ComputePolicy& policy,
                                                       const Make& make,
                                                       store::Generation generation) const {
  CACHECTL_ASSIGN(auto held, store::acquire(*root_, store::slot_of(key.hash()), key.bytes(),
                                            lock::Mode::exclusive, lock::Deadline::immediately(),
                                            "a function of a program"));
  if (!held) return std::optional<Computed>();
  CACHECTL_ASSIGN(const auto record, store::find(*root_, key, store::Want::header));
  if (number_of(record.entry) != generation) return std::optional<Computed>();
  bool started = false;
  CACHECTL_ASSIGN(auto made, lead({key, policy, make}, std::move(*held), started));
  return std::optional(std::move(made));
}

}  // namespace cachectl::refresh
