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
// stored. Such outcomes are published to attempts/ for those who wait and are never
// served to anybody who asks later.
//
// The source inherits the lock's descriptor and dies with its leader (SIGKILL). Should a
// process of it survive a killed leader, the lock stays held until that has ended: two
// sources of one key never live at once.
//
// Process and thread safety: any number of processes and threads may run one key.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/clock.hpp"
#include "src/refresh/capture.hpp"
#include "src/store/store.hpp"
#include "src/store/trees.hpp"

namespace cachectl::refresh {

enum class OnTimeout {
  fail,  ///< Errc::timeout
  run,   ///< run the source uncached
};

/// Which results become the key's value.
struct StorePolicy {
  bool only_success = true;      ///< exit status 0 only
  std::vector<int> never_these;  ///< otherwise all but these; never one killed by a signal

  [[nodiscard]] bool stores(const lock::ExitStatus& status) const;
};

struct RunPolicy {
  /// The value expires this long after it was made, and a value older than this is not
  /// served, whatever it was stored with.
  std::chrono::nanoseconds ttl = std::chrono::seconds(60);
  bool force = false;  ///< do not serve what is stored; an attempt that runs is shared
  StorePolicy store;
  lock::Deadline deadline = lock::Deadline::never();
  OnTimeout on_timeout = OnTimeout::fail;
  lock::Durability durability = lock::Durability::full;
  store::Retention retention;  ///< of superseded trees
  bool pass_signals = false;   ///< to the source; for programs that are nothing but this
};

enum class How {
  hit,       ///< a stored value
  shared,    ///< the result of an attempt that ran while we asked
  ran,       ///< we ran the source
  uncached,  ///< we ran it, and the cache could not take part
};

struct RunResult {
  How how = How::hit;
  lock::ExitStatus status;
  store::Generation generation = 0;    ///< 0: not recorded
  std::optional<store::Tree> tree;     ///< the value, if it is one; pinned
  int interrupted_by = 0;              ///< the signal that asked us to end, or 0
  std::optional<Error> not_stored;     ///< the source ran, but the cache failed to store
  std::optional<Error> not_passed_on;  ///< the sink did not get all
};

/// Called with what a person should know though it stops nothing: a damaged record, a
/// cache that cannot be written.
using Warn = std::function<void(const Error&)>;

class Coalescer {
 public:
  /// All must outlive it.
  Coalescer(const store::Root& root, const Clock& clock, const Warn& warn)
      : root_(&root), clock_(&clock), warn_(&warn) {}

  [[nodiscard]] Result<RunResult> run(const Key& key, const Source& source, const RunPolicy& policy,
                                      const Sink& sink) const;

 private:
  struct Seen;
  struct Request;
  struct Making;
  struct Value;
  [[nodiscard]] Result<std::optional<Value>> usable(store::Lookup lookup, store::Place from,
                                                    const Source& source) const;
  [[nodiscard]] Result<Seen> look(const Key& key) const;
  [[nodiscard]] Result<std::optional<Value>> answer(const Request& request) const;
  [[nodiscard]] static RunResult replay(Value value, How how, const Sink& sink);
  [[nodiscard]] Result<RunResult> run_cached(const Key& key, const Source& source,
                                             const RunPolicy& policy, const Sink& sink,
                                             bool& started) const;
  [[nodiscard]] Result<RunResult> ask(const Request& request) const;
  [[nodiscard]] Result<RunResult> lead(const Request& request, lock::HeldLock held) const;
  [[nodiscard]] Result<RunResult> timed_out(const Request& request) const;
  [[nodiscard]] Result<store::Generation> publish(const Request& request,
                                                  store::RecordWriter& writer, Making& making,
                                                  const Captured& captured,
                                                  store::Generation generation) const;
  [[nodiscard]] Result<Making> prepare_tree(const Request& request) const;

  const store::Root* root_;
  const Clock* clock_;
  const Warn* warn_;
};

/// Whether a source can be run though the cache failed in this way: it may be read and not
/// written, it is full, or the system is out of something. Not where somebody is to look:
/// a cache that is not safe, or of a later version.
[[nodiscard]] bool can_do_without(const Error& error);

/// Runs the source with no cache at all, because of `why`: told to `warn` where that is how
/// things are meant to be (a cache that may only be read), else the result's not_stored.
[[nodiscard]] Result<RunResult> run_without(const Source& source, const RunPolicy& policy,
                                            const Sink& sink, Error why, const Warn& warn);

/// Runs the source with no cache at all.
[[nodiscard]] Result<RunResult> run_uncached(const Source& source, const RunPolicy& policy,
                                             const Sink& sink);

}  // namespace cachectl::refresh
