// Leases: locks that outlive the command that took them.
//
//   acquire --> held --release, owner's end, expiry--> ended
//
// The kernel lock is the truth. It belongs to an open descriptor, which a small process
// keeps (holder.hpp) for as long as the owner lives, a shell as a rule. Two names in
// ROOT/leases/ lead to it:
//
//   leases/ID          what it is, for people (description.hpp); locked while it lives
//   leases/ID.socket   where the holder listens (protocol.hpp)
//
// Who publishes under a lease borrows it: he gets a duplicate of the locked descriptor, so
// that he holds the lock himself until he has closed it, whatever becomes of the holder
// meanwhile. What he holds is an OuterLock (lock/lock_table.hpp); his own lock nests in it.
//
// Errors: Errc::lease_lost, with what became of it, when the lease has ended;
// Errc::timeout when its holder does not answer; Errc::unsupported where locks cannot be
// handed on (the boost backend) or processes cannot be watched.
//
// Thread rules: taking one forks, so it is for programs that have one thread when they do.
#pragma once

#include <optional>
#include <vector>

#include "src/lease/description.hpp"
#include "src/lease/id.hpp"
#include "src/store/root.hpp"

namespace cachectl::lease {

/// The process with which a lease ends.
class Owner {
 public:
  /// Errc::usage: there is no such process.
  [[nodiscard]] static Result<Owner> of(pid_t pid);

  [[nodiscard]] const lock::ProcessIdentity& identity() const { return identity_; }
  [[nodiscard]] const std::string& command() const { return command_; }
  [[nodiscard]] const lock::WatchedProcess& process() const { return process_; }

 private:
  Owner(lock::ProcessIdentity identity, std::string command, lock::WatchedProcess process)
      : identity_(identity), command_(std::move(command)), process_(std::move(process)) {}

  lock::ProcessIdentity identity_;
  std::string command_;
  lock::WatchedProcess process_;
};

/// A lease that was taken, and is to be confirmed once its id was told to whoever is to
/// use it. Without that it ends with this object: nobody would know of it.
class Taken {
 public:
  Taken(Id id, lock::Fd line) : id_(std::move(id)), line_(std::move(line)) {}

  [[nodiscard]] const Id& id() const { return id_; }
  [[nodiscard]] Result<void> confirm() const;

 private:
  Id id_;
  lock::Fd line_;
};

/// What is known of a lease.
struct Lease {
  Id id;
  Description description;
  bool alive = true;
};

/// What was borrowed: the locks, and the descriptors that they name. A child that keeps
/// those open keeps the lock.
struct Borrowed {
  lock::OuterLocks locks;
  std::vector<lock::Fd> descriptors;
};

/// For what is to be taken: whether this build can.
[[nodiscard]] Result<void> check_supported();

/// Hands a held lock to a holder. `key`: what it is the lock of; null: the whole cache.
/// `duration`: max: as long as the owner lives.
[[nodiscard]] Result<Taken> take(const store::Root& root, lock::HeldLock held, const Key* key,
                                 const Owner& owner, std::chrono::nanoseconds duration,
                                 const Clock& clock);

/// Hands a replica to a holder: `descriptor` carries the lock of its slot.
[[nodiscard]] Result<Taken> take_replica(const store::Root& root, int descriptor, const Key& key,
                                         unsigned slot, const Owner& owner,
                                         std::chrono::nanoseconds duration, const Clock& clock);

[[nodiscard]] Result<Borrowed> borrow(const store::Root& root, const Id& id);

/// The descriptors of a replica's lease: whoever has them open holds it too.
[[nodiscard]] Result<std::vector<lock::Fd>> borrow_replica(const store::Root& root, const Id& id);

/// When it returns, the lock is free, unless somebody has borrowed it.
[[nodiscard]] Result<void> release(const store::Root& root, const Id& id);

/// It ends `duration` from now; max: with its owner.
[[nodiscard]] Result<void> renew(const store::Root& root, const Id& id,
                                 std::chrono::nanoseconds duration);

/// nullopt: there is none; it was released, and its file is gone.
[[nodiscard]] Result<std::optional<Lease>> find(const store::Root& root, const Id& id);

/// Those that live, the oldest first.
[[nodiscard]] Result<std::vector<Lease>> list(const store::Root& root);

/// The holder of this replica's lease was killed, or lives, and so does the owner, who does not
/// know. A holder that ends in any other way removes the file, or says in it why; so it does
/// not matter whether the file is locked.
[[nodiscard]] bool owner_relies_on(const store::Root& root, const Id& id);

/// Errc::lease_lost, with what became of a lease that does not live.
[[nodiscard]] Error lost(const store::Root& root, const Id& id);

}  // namespace cachectl::lease
