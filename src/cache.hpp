// Cache: one cache directory, as a C++ program uses it. The command line is a thin
// adapter over this class: whatever a subcommand does, a program can do.
//
//   CacheOptions options;
//   options.root = "/var/cache/prices";
//   auto cache = Cache::open(std::move(options));
//   auto key = Key::from("prices");
//   auto entry = cache->get(*key);                 // lock-free
//   cache->set(*key, lock::bytes_of("42"), {});    // durable when it returns
//   cache->run(*key, {{"curl", "-fsS", url}}, {}, {STDOUT_FILENO, STDERR_FILENO});
//
// Guarantees
//   - get never blocks on a writer and never returns a partial or damaged value.
//   - A publish (set, run) that returns ok with Durability::full survives a power loss.
//   - Of all who run a key at once, in all processes and threads, one runs the source.
//   - A process that dies at any point leaves a cache that the next call uses.
//
// Reading never creates the directory; writing does. All calls may come from several
// threads and processes at once. Ownership: results own what they refer to; `options`
// may hold a clock, which must outlive the Cache.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/clock.hpp"
#include "src/lease/lease.hpp"
#include "src/pool/pool.hpp"
#include "src/refresh/coalesce.hpp"
#include "src/refresh/compute.hpp"
#include "src/refresh/fleet.hpp"
#include "src/store/gc.hpp"
#include "src/store/store.hpp"
#include "src/store/verify.hpp"
#include "src/telemetry/report.hpp"

namespace cachectl {

struct CacheOptions {
  std::string root;  ///< absolute
  store::Sharing sharing = store::Sharing::owner_only;
  lock::OuterLocks outer;        ///< locks handed down by a parent process
  std::string lease;             ///< work under this lease; Errc::lease_lost if it has ended
  const Clock* clock = nullptr;  ///< null: the system's
  refresh::Warn warn;            ///< told of damaged records and the like; may be empty
  /// Whom to share values with other machines by; empty: nobody. Asked when it is first needed.
  std::function<Result<remote::Options>()> remote;
  std::function<bool(const Key&)> shares;  ///< whether a key's value is shared; empty: all are
  telemetry::Observers observers;          ///< told of what happens; see telemetry/observer.hpp
};

struct WritePolicy {
  lock::Deadline deadline = lock::Deadline::never();  ///< of the wait for the key's lock
  lock::Durability durability = lock::Durability::full;
};

struct SetPolicy : WritePolicy {
  std::chrono::nanoseconds ttl = std::chrono::nanoseconds::max();  ///< max: never expires
  std::chrono::nanoseconds stale_while_revalidate{0};  ///< for a clean-up: keeps it so much longer
  std::chrono::nanoseconds stale_if_error{0};          ///< likewise
  bool if_absent = false;                              ///< keep a fresh value that is there
  store::Retention retention;                          ///< of superseded trees
};

/// One row of a listing.
struct Listed {
  std::string key;
  store::RecordHeader header;
};

class Cache {
 public:
  /// Opens the directory if it is there. Errc::refused when it is not safe to use;
  /// Errc::format when a later version made it.
  [[nodiscard]] static Result<Cache> open(CacheOptions options);

  /// The fresh value of a key, verified; nullopt: a miss. Errc::usage: it is a tree.
  [[nodiscard]] Result<std::optional<store::Entry>> get(const Key& key) const;

  /// What is stored on this disk, whatever its age, verified. Nobody is told of a hit or a miss.
  /// Errc::usage: it is a tree.
  [[nodiscard]] Result<std::optional<store::Entry>> stored(const Key& key) const;

  /// After a miss on this disk: whether the value of another machine is here now.
  [[nodiscard]] Result<bool> take_shared(const Key& key) const;

  /// Keeps what is on this disk like what other machines publish and remove, as long as the result
  /// lives, which must not be longer than this; null: no values are shared, or there is no cache.
  /// What is `kept` is taken from the server when it has a newer one.
  [[nodiscard]] std::unique_ptr<refresh::Coherence> follow_fleet(
      std::vector<refresh::Coherence::Kept> kept = {}) const;

  /// Of the server alone, which must be configured (Errc::config), and whose failures are errors.
  /// The fresh value, written to a descriptor as get_to does.
  [[nodiscard]] Result<bool> get_remote_to(const Key& key, int descriptor,
                                           std::string_view name) const;
  /// False: a newer one is there.
  [[nodiscard]] Result<bool> set_remote(const Key& key, lock::Bytes value,
                                        const SetPolicy& policy) const;
  [[nodiscard]] Result<bool> set_remote_from(const Key& key, int descriptor, std::string_view name,
                                             const SetPolicy& policy) const;
  /// True: it was there.
  [[nodiscard]] Result<bool> remove_remote(const Key& key) const;

  /// Writes the fresh value of a key to a descriptor, called `name` in errors; false: a
  /// miss, and nothing was written. The way to copy a large value.
  [[nodiscard]] Result<bool> get_to(const Key& key, int descriptor, std::string_view name) const;

  /// Whatever is stored under a key, fresh or not, not verified. Does not count as use.
  [[nodiscard]] Result<store::Lookup> inspect(const Key& key) const;

  /// Whether the remote server has a value, fresh or not, by one question; nullopt: there is none,
  /// it is left alone, or it has failed, which was warned of. Not asked before there is a cache.
  [[nodiscard]] std::optional<bool> is_remote(const Key& key) const;

  /// The last attempt to make the value, if it failed and no value was stored since. Not
  /// verified.
  [[nodiscard]] Result<std::optional<store::Entry>> last_failure(const Key& key) const;

  /// Publishes a value; nullopt: `if_absent`, and a fresh one was there. The second form
  /// reads the value from a descriptor to its end, with little memory, before it takes
  /// the lock: a slow producer keeps nobody waiting.
  [[nodiscard]] Result<std::optional<store::Generation>> set(const Key& key, lock::Bytes value,
                                                             const SetPolicy& policy) const;
  [[nodiscard]] Result<std::optional<store::Generation>> set_from(const Key& key, int descriptor,
                                                                  std::string_view name,
                                                                  const SetPolicy& policy) const;

  /// As set; the value is a copy of the file or directory at `path`.
  [[nodiscard]] Result<std::optional<store::Generation>> set_tree(const Key& key,
                                                                  const std::string& path,
                                                                  const SetPolicy& policy) const;

  /// The fresh value of a key that is a file or directory, pinned; nullopt: a miss.
  /// Errc::usage: its value is bytes.
  [[nodiscard]] Result<std::optional<store::Tree>> tree(const Key& key) const;

  /// The pool of a key's replicas. The second form makes nothing; nullopt: there is none.
  [[nodiscard]] Result<pool::Pool> pool(const Key& key, pool::Options options) const;
  [[nodiscard]] Result<std::optional<pool::Pool>> find_pool(const Key& key,
                                                            pool::Options options) const;

  /// Every pool that there is, in no order.
  struct KnownPool {
    KeyHash hash;
    std::string key;  ///< of the record; empty: nothing is stored under it
    pool::Pool pool;
  };
  [[nodiscard]] Result<std::vector<KnownPool>> pools() const;

  /// The slot that a path is in, as checkout printed it; nullopt: it is in none.
  [[nodiscard]] Result<std::optional<pool::SlotInfo>> find_replica(const std::string& path) const;

  /// Gives back the replica at a path that a lease had, whose holder is gone. True: its owner
  /// lives, so that it was his until now; then `before` is called while it still is.
  [[nodiscard]] Result<bool> take_back(const std::string& path, std::string_view lease,
                                       const std::function<Result<void>()>& before = {}) const;

  /// Reads all of the value of a key, fresh or not, and says what is wrong with it, one
  /// line each; nullopt: nothing is stored.
  [[nodiscard]] Result<std::optional<std::vector<std::string>>> verify(const Key& key) const;

  /// Reads all that is stored, see store/verify.hpp.
  [[nodiscard]] Result<store::Verified> verify_all(const store::VerifyOptions& options) const;

  /// True: there was a record, here or on the server.
  [[nodiscard]] Result<bool> remove(const Key& key, const WritePolicy& policy) const;

  /// Removes all keys for which `wanted` holds; returns how many.
  [[nodiscard]] Result<std::uint64_t> remove_if(
      const std::function<bool(std::string_view key)>& wanted, const WritePolicy& policy) const;

  /// The stored value, or the result of the source; see refresh/coalesce.hpp.
  [[nodiscard]] Result<refresh::RunResult> run(const Key& key, const refresh::Source& source,
                                               const refresh::RunPolicy& policy,
                                               const refresh::Sink& sink) const;

  /// Makes the value anew behind the caller's back: after run has said that this is due. See
  /// refresh/coalesce.hpp.
  [[nodiscard]] Result<bool> refresh_behind(const Key& key, const refresh::Source& source,
                                            const refresh::RunPolicy& policy,
                                            store::Generation generation,
                                            refresh::Child child) const;

  /// The stored value, or the result of a function of this process; see refresh/compute.hpp.
  [[nodiscard]] Result<refresh::Computed> compute(const Key& key,
                                                  const refresh::ComputePolicy& policy,
                                                  const refresh::Make& make) const;
  /// Makes the value anew, unless that is done elsewhere or was since `generation`: nullopt.
  [[nodiscard]] Result<std::optional<refresh::Computed>> compute_anew(
      const Key& key, const refresh::ComputePolicy& policy, const refresh::Make& make,
      store::Generation generation) const;

  /// Locks one key, or the whole cache when `key` is null. Errc::timeout after the
  /// deadline, with who holds it.
  [[nodiscard]] Result<lock::HeldLock> lock(const Key* key, lock::Mode mode,
                                            const lock::Deadline& deadline,
                                            std::string_view command) const;

  /// Who holds that lock, as far as is known: for messages while somebody waits for it.
  [[nodiscard]] std::optional<lock::OwnerNote> holder(const Key* key) const;

  /// The same on a descriptor of the caller's, see lock/lock_table.hpp, which stays locked.
  [[nodiscard]] Result<lock::OuterLocks> lock_on(int descriptor, const Key* key, lock::Mode mode,
                                                 const lock::Deadline& deadline,
                                                 const lock::ProcessIdentity& owner,
                                                 std::string_view command) const;
  [[nodiscard]] Result<void> unlock_on(int descriptor) const;

  /// The same as a lease: the lock outlives the caller, until its owner ends, `duration`
  /// has passed (max: never), or it is released. See lease/lease.hpp.
  [[nodiscard]] Result<lease::Taken> acquire(const Key* key, lock::Mode mode,
                                             const lock::Deadline& deadline,
                                             const lease::Owner& owner,
                                             std::chrono::nanoseconds duration) const;

  /// Errc::lease_lost when it does not live any more.
  [[nodiscard]] Result<void> release(const lease::Id& id) const;

  /// What carries the lock of a replica that is lent: as long as it is open, the replica is
  /// nobody else's, whatever becomes of its lease.
  [[nodiscard]] Result<std::vector<lock::Fd>> hold_replica(const lease::Id& id) const;

  /// Hands a replica to `owner`, as acquire does with a lock.
  [[nodiscard]] Result<lease::Taken> lend(const Key& key, const pool::Slot& slot,
                                          const lease::Owner& owner,
                                          std::chrono::nanoseconds duration) const;
  [[nodiscard]] Result<void> renew(const lease::Id& id, std::chrono::nanoseconds duration) const;

  /// What is known of a lease, and of all that live.
  [[nodiscard]] Result<std::optional<lease::Lease>> find_lease(const lease::Id& id) const;
  [[nodiscard]] Result<std::vector<lease::Lease>> leases() const;

  /// An empty file without a name on the file system of the cache, for what is too large to
  /// be held in memory. Makes the cache.
  [[nodiscard]] Result<lock::StagedFile> scratch() const;

  /// Calls `row` for each record, in no order; damaged ones are told to `warn`.
  [[nodiscard]] Result<void> list(const std::function<void(const Listed&)>& row) const;

  /// How many idle replicas a pool may keep, by the hexadecimal hash of its key.
  using IdleReplicas = std::map<std::string, unsigned, std::less<>>;

  /// Nothing to do where there is no directory. Idle replicas go above the number that is
  /// given for their key, and all of them where nothing is stored under it any more.
  [[nodiscard]] Result<store::GcReport> collect(const store::GcPolicy& policy,
                                                const IdleReplicas& idle = {}) const;

  /// For what looks at all that there is (src/status, src/doctor); null: nothing.
  [[nodiscard]] Result<const store::Root*> root() const;
  /// What Counting observers have counted here; nullopt: nothing that can be read.
  [[nodiscard]] Result<std::optional<telemetry::Report>> counters() const;
  /// They begin anew at 0.
  [[nodiscard]] Result<void> reset_counters() const;

  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] const Clock& clock() const;
  [[nodiscard]] bool exists() const;
  /// Tells whom the options name.
  void warn(const Error& what) const;

 private:
  struct State;
  explicit Cache(std::shared_ptr<State> state) : state_(std::move(state)) {}
  [[nodiscard]] Result<const store::Root*> ensure_root() const;
  [[nodiscard]] Result<std::optional<store::Entry>> find_fresh(const Key& key) const;
  [[nodiscard]] Result<std::optional<store::Entry>> find_on_disk(const Key& key) const;
  void trim_pools(const store::Root& root, const store::GcPolicy& policy, const IdleReplicas& idle,
                  store::GcReport& report) const;
  [[nodiscard]] Result<bool> whole(Result<void> verdict) const;
  [[nodiscard]] Result<std::optional<store::Generation>> publish(
      store::RecordWriter writer, const store::Root& root, const Key& key, const SetPolicy& policy,
      store::StagedTree* tree = nullptr) const;
  [[nodiscard]] Result<std::optional<store::Generation>> publish_here(
      store::RecordWriter writer, const store::Root& root, const Key& key, const SetPolicy& policy,
      store::StagedTree* tree) const;
  bool remove_shared(const Key& key) const;
  [[nodiscard]] Result<bool> remove_here(const Key& key, const WritePolicy& policy) const;
  [[nodiscard]] Result<bool> remove_locked(const store::Root& root, const KeyHash& hash,
                                           std::string_view key, const WritePolicy& policy) const;
  void tell(const telemetry::Happening& what) const;
  [[nodiscard]] Result<bool> give(store::RecordWriter writer, const store::Root& root,
                                  const Key& key, const SetPolicy& policy) const;
  /// A read that has ended; without a header it was a miss.
  void tell_read(const Key& key, const store::RecordHeader* header, std::uint64_t bytes,
                 const telemetry::Stopwatch& since) const;

  std::shared_ptr<State> state_;
};

}  // namespace cachectl
