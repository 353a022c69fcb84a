// Coalescing: of all who ask for a key at once, one runs the source and the others get
// its result.
//
//   look up --fresh--> hit
//      | miss: remember which attempt was the newest
//   try the key's lock --free--> look again --nothing new--> lead: run, publish, unlock
//      | held by a leader                `--new--> shared
//   wait for a shared lock (all waiters wake together; none queues behind another)
//      | granted: look again --a newer attempt, stored or failed--> shared
//      | nothing: the leader died
//   wait for the exclusive lock, look again --nothing new--> lead
//
// "New" is decided by the attempt number (the generation), not by a clock: whatever
// attempt has ended since we asked is our answer, also when it failed or was not to be
// stored. Such outcomes are published to attempts/ for those who wait, and are served to
// who asks later only where a failure is to be remembered: a TTL for its status, or a
// circuit breaker that is open.
//
// A stale value (freshness.hpp) is served at once, and the caller told that a refresh is
// due: refresh_behind starts it, in a process that nobody waits for. Of all who start one,
// he who gets the key's lock does.
//
// The source inherits the lock's descriptor and dies with its leader (SIGKILL). Should a
// process of it survive a killed leader, the lock stays held until that has ended: two
// sources of one key never live at once.
//
// Process and thread safety: any number of processes and threads may run one key.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "src/choices.hpp"
#include "src/clock.hpp"
#include "src/refresh/capture.hpp"
#include "src/refresh/freshness.hpp"
#include "src/refresh/shared.hpp"
#include "src/store/store.hpp"
#include "src/store/trees.hpp"

namespace cachectl::refresh {

/// Which results become the key's value.
struct StorePolicy {
  bool only_success = true;      ///< exit status 0 only
  std::vector<int> never_these;  ///< otherwise all but these; never one killed by a signal

  [[nodiscard]] bool stores(const lock::ExitStatus& status) const;
};

/// What is done when the source fails: it ends with a status that is not stored, runs for
/// too long, or cannot be started.
struct FailurePolicy {
  OnError on_error = OnError::stale;
  bool empty_is_failure = false;  ///< exit status 0 without any output
  std::uint64_t retries = 0;      ///< at once, by the leader
  /// The pause before the first retry; doubled for each that follows, up to a minute, of
  /// which half is drawn.
  std::chrono::nanoseconds retry_delay = std::chrono::seconds(1);
  /// After this many failed attempts in a row the source is left alone for a while; then
  /// one attempt is made, and another while if it fails too.
  std::uint64_t breaker_failures = std::numeric_limits<std::uint64_t>::max();
  std::chrono::nanoseconds breaker_cool_down = std::chrono::seconds(30);
};

struct RunPolicy {
  Windows windows;
  FailurePolicy failure;
  bool force = false;  ///< do not serve what is stored; an attempt that runs is shared
  /// Errc::usage where a fresh value is a tree and the source makes bytes, or the other way
  /// round; else it is replaced.
  bool keeps_kind = false;
  /// Where it is forced: a fresh value that was begun then or later is served all the same, and the
  /// server is asked for one.
  WallTime forced_before = kNever;
  /// A stale value is not served at once: it is made anew first, as one that has expired.
  bool stale_is_expired = false;
  StorePolicy store;
  lock::Deadline deadline = lock::Deadline::never();
  OnTimeout on_timeout = OnTimeout::fail;
  lock::Durability durability = lock::Durability::full;
  store::Retention retention;  ///< of superseded trees
  Coordination coordination = Coordination::local;
  bool pass_signals = false;  ///< to the source; for programs that are nothing but this
};

enum class How {
  hit,       ///< a fresh value
  stale,     ///< one that is not: see refresh_due and source_failed
  shared,    ///< the result of an attempt that ran while we asked
  ran,       ///< we ran the source
  uncached,  ///< we ran it, and the cache could not take part
};

struct RunResult {
  How how = How::hit;
  lock::ExitStatus status;
  store::Generation generation = 0;  ///< 0: not recorded
  std::optional<store::Tree> tree;   ///< the value, if it is one; pinned
  bool refresh_due = false;          ///< refresh_behind should be called now
  /// Why the value is served though it is stale; or how the source failed, where neither its
  /// status nor its words tell: Errc::timeout, or it printed nothing.
  std::optional<Error> source_failed;
  int interrupted_by = 0;              ///< the signal that asked us to end, or 0
  std::optional<Error> not_stored;     ///< the source ran, but the cache failed to store
  std::optional<Error> not_passed_on;  ///< the sink did not get all
};

/// Who reaps the process that refreshes.
enum class Child {
  orphan,  ///< nobody has to: it is forked twice, which costs us the wait for the first
  ours,    ///< we do, or whoever adopts it when we end
};

/// Called with what a person should know though it stops nothing: a damaged record, a
/// cache that cannot be written.
using Warn = std::function<void(const Error&)>;

class Coalescer {
 public:
  /// All must outlive it.
  Coalescer(const store::Root& root, const Clock& clock, const Warn& warn, FindShared shared = {})
      : root_(&root), clock_(&clock), warn_(&warn), shared_(std::move(shared)) {}

  [[nodiscard]] Result<RunResult> run(const Key& key, const Source& source, const RunPolicy& policy,
                                      const Sink& sink) const;

  /// Starts a process that makes the key's value anew, unless somebody is at it or has done
  /// so since `generation` was served. It leads a session and has none of our descriptors but
  /// the cache's. False: none was started. For programs with one thread: it goes on after a
  /// fork.
  [[nodiscard]] Result<bool> refresh_behind(const Key& key, const Source& source,
                                            const RunPolicy& policy, store::Generation generation,
                                            Child child) const;

 private:
  struct Seen;
  struct Request;
  struct Making;
  struct Value;
  struct Past;
  struct Attempt;
  [[nodiscard]] Result<std::optional<Value>> usable(store::Lookup lookup, store::Place from,
                                                    const Source& source) const;
  [[nodiscard]] Result<Seen> look(const Key& key) const;
  [[nodiscard]] bool is_new_enough(const RunPolicy& policy, const store::Entry& entry) const;
  [[nodiscard]] std::optional<Error> remembered_failure(const RunPolicy& policy,
                                                        const store::Entry& attempt) const;
  [[nodiscard]] bool may_stand_in(const RunPolicy& policy, const store::RecordHeader& header) const;
  [[nodiscard]] Result<std::optional<RunResult>> stand_in(const Request& request,
                                                          Error failure) const;
  void refresh_detached(const Key& key, const Source& source, const RunPolicy& policy,
                        store::Generation generation) const;
  [[nodiscard]] Result<RunResult> settle(const Request& request, Value value) const;
  [[nodiscard]] Result<std::optional<Value>> answer(const Request& request) const;
  [[nodiscard]] static RunResult replay(Value value, How how, const Sink& sink);
  [[nodiscard]] RunResult serve(Value value, How how, telemetry::What what, const Sink& sink,
                                const telemetry::Stopwatch& asked) const;
  [[nodiscard]] Result<RunResult> run_cached(const Key& key, const Source& source,
                                             const RunPolicy& policy, const Sink& sink,
                                             bool& started) const;
  [[nodiscard]] Result<RunResult> ask(const Request& request) const;
  [[nodiscard]] Result<RunResult> lead(const Request& request, lock::HeldLock held) const;
  [[nodiscard]] Result<RunResult> make(const Request& request, lock::HeldLock held) const;
  [[nodiscard]] Result<std::optional<Value>> taken(const Request& request) const;
  [[nodiscard]] Result<Past> look_back(const Request& request) const;
  [[nodiscard]] Result<Attempt> attempt(const Request& request, lock::HeldLock& held,
                                        const Past& past, bool is_last) const;
  [[nodiscard]] Hold hold_of(const Request& request, const lock::HeldLock& held,
                             const Making& making, const Past& past) const;
  [[nodiscard]] Result<RunResult> timed_out(const Request& request) const;
  [[nodiscard]] Result<store::Generation> publish(const Request& request,
                                                  store::RecordWriter& writer, Making& making,
                                                  const Captured& captured, bool failed,
                                                  const Past& past) const;
  void tell_failure(const Request& request, telemetry::What what, const Captured& ended,
                    const Past& past) const;
  void publish_failed_start(const Request& request, store::RecordWriter& writer, const Past& past,
                            const Error& why) const;
  [[nodiscard]] Result<void> publish_outcome(const Request& request, store::RecordWriter& writer,
                                             store::RecordHeader header, bool failed,
                                             const Past& past) const;
  [[nodiscard]] Result<bool> publish_again(const Request& request,
                                           store::RecordHeader header) const;
  [[nodiscard]] Result<Making> prepare_tree(const Request& request) const;

  const store::Root* root_;
  const Clock* clock_;
  const Warn* warn_;
  FindShared shared_;
};

/// Whether a source can be run though the cache failed in this way: it may be read and not
/// written, it is full, or the system is out of something. Not where somebody is to look:
/// a cache that is not safe, or of a later version.
[[nodiscard]] bool can_do_without(const Error& error);

/// Runs the source with no cache at all, because of `why`: told to `warn` where that is how
/// things are meant to be (a cache that may only be read), else the result's not_stored.
[[nodiscard]] Result<RunResult> run_without(const Key& key, const Source& source,
                                            const RunPolicy& policy, const Sink& sink, Error why,
                                            const Warn& warn);

/// Runs the source with no cache at all.
[[nodiscard]] Result<RunResult> run_uncached(const Key& key, const Source& source,
                                             const RunPolicy& policy, const Sink& sink);

/// What a source is told of the key that it makes the value of.
void tell_key(const Key& key, std::vector<std::string>& environment);

/// How a source failed that has run; nullopt: it did not. With `has_value` it may say that
/// the value still holds.
[[nodiscard]] std::optional<Error> failure_in(const Source& source, const RunPolicy& policy,
                                              const Captured& captured, bool has_value);

}  // namespace cachectl::refresh
