// Pool: private, writable copies (replicas) of a key's tree, lent out one owner at a time.
//
//   pools/3fa94c…/pool.lock   bytes 1 to 64: the slots; the queue of those who wait (queue.hpp)
//   pools/3fa94c…/7/state     what is known of the replica in slot 7 (replica_state.hpp)
//                  /value     the replica: a file or directory, its owner's to change
//                  /manifest  what it was filled with, and
//                  /snapshot  what tells cheaply what its owner has changed since
//                  /upper /work   instead, where it is an overlay over a generation
//
//              .-------- given back, or the owner ended ---------.
//              v                                                 |
//   empty --> free --take--> leased --prepare: fill or update--> lent
//     ^        | taken again: what its last owner changed is undone (reset)
//     |        v
//   broken: filling was cut off, or the machine restarted: filled anew
//
// A slot is owned by whoever holds the lock on its byte, and by nothing else: when the owner
// dies, however he dies, it is free at once. Everything in the slot is touched under that
// lock only.
//
// Slots are handed out in the order in which people came. Who is first and finds none looks
// again each few milliseconds: the kernel can wait for one lock, not for any of several. All
// behind him sleep.
//
// Needs byte ranges and inheritable locks: Errc::unsupported with the boost backend.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/pool/replica_state.hpp"
#include "src/store/trees.hpp"

namespace cachectl::pool {

struct Options {
  unsigned most = 8;  ///< slots, up to kMost
  Reset reset = Reset::dirty;
  /// Those allowed, by preference.
  std::vector<Way> ways = {Way::overlay, Way::snapshot, Way::reflink, Way::copy};
  std::function<void(const tree::Progress&)> progress;  ///< of a copy that is made
  std::string key = {};                                 ///< for who watches; empty: not known
};

constexpr unsigned kMost = 64;

enum class Condition { empty, free, dirty, broken, leased };
[[nodiscard]] std::string_view name_of(Condition condition);

/// A row of the list.
struct SlotInfo {
  unsigned number = 0;
  Condition condition = Condition::empty;
  ReplicaState state;
  std::string path;
};

/// A slot that we hold.
class Slot {
 public:
  [[nodiscard]] unsigned number() const { return number_; }
  /// Of the replica; for an overlay, where it is to be mounted.
  [[nodiscard]] std::string path() const { return directory_->path_of("value"); }
  [[nodiscard]] const lock::Directory& directory() const { return *directory_; }
  [[nodiscard]] const ReplicaState& state() const { return state_; }
  /// Carries the lock.
  [[nodiscard]] int descriptor() const { return file_.descriptor(); }

 private:
  friend class Pool;
  Slot(unsigned number, lock::FileLock file, std::unique_ptr<lock::Directory> directory,
       ReplicaState state)
      : number_(number),
        file_(std::move(file)),
        directory_(std::move(directory)),
        state_(std::move(state)) {}
  unsigned number_;
  lock::FileLock file_;
  std::unique_ptr<lock::Directory> directory_;
  ReplicaState state_;
  std::optional<telemetry::Stopwatch> asked_ = {};  // until its new owner can have it
};

class Pool {
 public:
  static constexpr const char* kPools = "pools";

  /// Makes its directory where it is missing. `root` must outlive it.
  [[nodiscard]] static Result<Pool> open(const store::Root& root, const KeyHash& hash,
                                         Options options);
  /// nullopt: nobody ever used a pool of this key.
  [[nodiscard]] static Result<std::optional<Pool>> find(const store::Root& root,
                                                        const KeyHash& hash, Options options);

  /// Waits for a free slot: the one whose replica is the most like `wanted`, a generation of
  /// the key or 0, and made in one of `ways`. nullopt: the deadline passed.
  [[nodiscard]] Result<std::optional<Slot>> take(store::Generation wanted,
                                                 const std::vector<Way>& ways,
                                                 const lock::Deadline& deadline,
                                                 std::string_view owner) const;

  /// A certain slot, unless somebody has it.
  [[nodiscard]] Result<std::optional<Slot>> try_take(unsigned number) const;

  /// Makes the replica a copy of `primary`, by the first of `ways` that works; a copy that
  /// was made by any of them is kept. `why`: why it was not made in a way that would have
  /// been preferred, for the list. Errc::unsupported: none works, and why.
  [[nodiscard]] Result<void> prepare(Slot& slot, const store::Tree& primary,
                                     const std::vector<Way>& ways, const std::string& why) const;

  /// Makes the slot an overlay over `primary`, to be mounted by who uses it.
  /// Errc::unsupported: it is a file.
  [[nodiscard]] Result<void> prepare_overlay(Slot& slot, const store::Tree& primary,
                                             const std::string& why) const;

  /// Notes who has it, for people and for give_back.
  [[nodiscard]] Result<void> note_owner(Slot& slot, std::string_view lease,
                                        std::string_view owner) const;
  /// Gives back the replica at `path` that `lease` had, whose holder is gone. Nothing where
  /// somebody else has it. True: its owner lives, so that it was his until now; then `before` is
  /// called first, while nobody else can have it.
  [[nodiscard]] static Result<bool> take_back(const store::Root& root, const std::string& path,
                                              std::string_view lease,
                                              const std::function<Result<void>()>& before = {});
  /// Notes that it came back; it is free once its lock is.
  [[nodiscard]] Result<void> give_back(Slot& slot) const;
  /// Removes the replica; the slot is empty then.
  [[nodiscard]] Result<void> clear(Slot& slot) const;

  /// Waits for all replicas and removes them; whoever wants one meanwhile waits. False: the
  /// deadline passed.
  [[nodiscard]] Result<bool> drain(const lock::Deadline& deadline) const;

  /// Removes idle replicas in slots above `most`, also broken ones; returns how many.
  [[nodiscard]] Result<unsigned> trim(unsigned most, bool dry_run) const;

  /// All slots that have a directory, by number. Looks for changes in free replicas.
  [[nodiscard]] Result<std::vector<SlotInfo>> list() const;

  /// Where the replica of a slot is.
  [[nodiscard]] static std::string path_of(const store::Root& root, const KeyHash& hash,
                                           unsigned number);

  /// The slot that a path is in, "ROOT/pools/HASH/N/value", with what its state says. Its
  /// condition is not looked at.
  [[nodiscard]] static Result<std::optional<SlotInfo>> locate(const store::Root& root,
                                                              const std::string& path);

 private:
  Pool(const store::Root& root, const KeyHash& hash, lock::Directory directory, Options options)
      : root_(&root), hash_(hash), directory_(std::move(directory)), options_(std::move(options)) {}
  [[nodiscard]] Result<lock::FileLock> open_lock() const;
  [[nodiscard]] Result<std::optional<Slot>> try_any(store::Generation wanted,
                                                    const std::vector<Way>& ways) const;
  [[nodiscard]] Result<std::optional<Slot>> hold(unsigned number, const lock::Deadline& deadline,
                                                 bool from_living = false) const;
  /// The lock is free, and yet the owner lives: the holder of his lease was killed, and he
  /// does not know. The replica stays his until he checks it in or ends.
  [[nodiscard]] bool is_bereft(const ReplicaState& state) const;
  [[nodiscard]] Result<bool> is_held(unsigned number, int file) const;
  [[nodiscard]] Result<Condition> condition_of(unsigned number, const ReplicaState& state,
                                               int file) const;
  /// Empties the slot, and notes that it is being filled.
  [[nodiscard]] Result<void> begin(Slot& slot) const;
  /// Notes what it was filled with, and that it is ready.
  [[nodiscard]] Result<void> finish(Slot& slot, const store::Tree& primary,
                                    const tree::Manifest& manifest,
                                    const tree::Snapshot& snapshot) const;
  /// Whether the next owner may have a replica that is `known` to be whole as it is.
  [[nodiscard]] Result<bool> will_do(const Slot& slot, const store::Tree& primary,
                                     bool known) const;
  [[nodiscard]] Result<void> fill(Slot& slot, const store::Tree& primary,
                                  const tree::Manifest& manifest, const std::vector<Way>& ways,
                                  const std::string& why) const;
  [[nodiscard]] Result<void> update(Slot& slot, const store::Tree& primary,
                                    const tree::Manifest& manifest,
                                    const std::vector<Way>& ways) const;
  [[nodiscard]] Result<void> note(Slot& slot) const;
  /// Tells who watches, once a checkout.
  void tell_ready(Slot& slot) const;
  [[nodiscard]] Result<void> make_ready(Slot& slot, const store::Tree& primary,
                                        const std::vector<Way>& ways, const std::string& why) const;
  [[nodiscard]] Result<void> make_overlay(Slot& slot, const store::Tree& primary,
                                          const std::string& why) const;

  const store::Root* root_;
  KeyHash hash_;
  lock::Directory directory_;
  Options options_;
};

}  // namespace cachectl::pool
