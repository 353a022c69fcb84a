#include "src/lease/lease.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lock/local_socket.hpp"
#include "src/lease/holder.hpp"
#include "src/lease/protocol.hpp"
#include "src/store/scan.hpp"

namespace cachectl::lease {

namespace {

using lock::Deadline;
using store::Root;

constexpr lock::Range kWholeFile{0, 0};

/// A holder answers at once, unless it was stopped.
constexpr std::chrono::seconds kAnswerTime{5};

/// The locks of a held one that go into its lease: those of its own table, as the
/// descriptors of others are no business of this cache.
lock::OuterLocks locks_of(const lock::HeldLock& held) {
  const auto same_file = [](int a, int b) {
    const auto first = lock::status_of(a, "lock");
    const auto second = lock::status_of(b, "lock");
    return first && second && lock::same_file(*first, *second);
  };
  auto locks = held.handed_down();
  std::erase_if(locks, [&](const auto& lock) {
    return lock.descriptor != held.descriptor() && !same_file(lock.descriptor, held.descriptor());
  });
  return locks;
}

Result<std::optional<Lease>> read_lease(const lock::Directory& leases, const Id& id) {
  CACHECTL_ASSIGN(auto opened, leases.open_if_exists(id.text(), O_RDONLY | O_NONBLOCK));
  if (!opened) return std::optional<Lease>();
  const auto path = leases.path_of(id.text());
  std::array<char, 32 * 1024> buffer;
  CACHECTL_ASSIGN(
      const std::size_t size,
      lock::read_full_at(opened->get(), std::as_writable_bytes(std::span(buffer)), 0, path));
  auto description = Description::decode({buffer.data(), size});
  if (!description) return fail(Errc::corrupt, path + ": is not a lease");
  lock::FileLock file(std::move(*opened), path);
  CACHECTL_ASSIGN(const bool dead,
                  file.lock(kWholeFile, lock::Mode::shared, Deadline::immediately()));
  return std::optional(Lease{id, std::move(*description), !dead});
}

/// One request and its answer. nullopt: the lease does not live.
Result<std::optional<lock::Message>> ask(const Root& root, const Id& id, const Request& request) {
  CACHECTL_ASSIGN(const auto leases, root.directory().find_below(Root::kLeases));
  if (!leases) return std::optional<lock::Message>();
  const auto deadline = Deadline::after(kAnswerTime);
  auto answer = [&]() -> Result<std::optional<lock::Message>> {
    CACHECTL_ASSIGN(const auto socket, lock::connect_to(*leases, id.socket(), deadline));
    if (!socket || !lock::send_message(socket->get(), request.encode())) {
      return std::optional<lock::Message>();
    }
    return lock::receive_message(socket->get(), deadline);
  }();
  if (!answer && answer.error().code == Errc::timeout) {
    const auto lease = read_lease(*leases, id);
    const auto holder = lease && *lease ? (*lease)->description.holder : 0;
    return fail(Errc::timeout,
                fmt::format("the holder of lease {}, pid {}, does not answer", id.text(), holder),
                fmt::format("if it was stopped: kill -CONT {}", holder));
  }
  return answer;
}

/// As ask, for requests that are answered with "ok".
Result<void> demand(const Root& root, const Id& id, const Request& request) {
  CACHECTL_ASSIGN(const auto answer, ask(root, id, request));
  if (!answer) return fail(lost(root, id));
  if (answer->text == kOk) return {};
  return fail(Errc::io, fmt::format("the holder of lease {} says: {}", id.text(), answer->text));
}

std::string fate_of(const Lease& lease) {
  const auto& what = lease.description;
  switch (what.ended) {
    case Ended::owner:
      return fmt::format("its owner, pid {} ({}), has ended", what.owner.pid,
                         escaped(what.command));
    case Ended::expired:
      return "it expired";
    case Ended::signal:
      return "its holder was told to end by a signal";
    case Ended::no:
      break;
  }
  return lease.alive ? "its holder does not listen" : "its holder was killed";
}

}  // namespace

Result<Owner> Owner::of(pid_t pid) {
  // Opened first: what is read then is of this process, if it lives afterwards.
  CACHECTL_ASSIGN(auto process, lock::WatchedProcess::open(pid));
  const auto identity = lock::ProcessIdentity::of(pid);
  auto command = lock::command_line_of(pid);
  if (process.has_ended()) return fail(Errc::usage, fmt::format("process {} has ended", pid));
  return Owner(identity, std::move(command), std::move(process));
}

Result<void> Taken::confirm() const {
  if (lock::send_message(line_.get(), "keep")) return {};
  return fail(Errc::lease_lost, "lease " + id_.text() + " ended as soon as it was taken");
}

Result<void> check_supported() {
  if (lock::backend.inheritable) return {};
  return fail(Errc::unsupported,
              fmt::format("a lock of the {} backend cannot outlive the command that took it",
                          lock::backend.name),
              "use 'cachectl lock -- COMMAND'");
}

namespace {

/// Starts the holder of a lease that keeps `locks`.
Result<Taken> hand_over(const Root& root, const lock::OuterLocks& locks, Description description,
                        const Owner& owner, std::chrono::nanoseconds duration, const Clock& clock) {
  description.owner = owner.identity();
  description.command = owner.command();
  description.since = clock.now();
  description.expires = later(description.since, duration);

  CACHECTL_ASSIGN(const Id id, Id::fresh());
  CACHECTL_ASSIGN(const auto staging, root.writable(Root::kStaging));
  CACHECTL_ASSIGN(const auto leases, root.writable(Root::kLeases));
  CACHECTL_ASSIGN(auto file, lock::StagedFile::create(staging, root.file_mode()));
  CACHECTL_TRY(
      lock::write_all_at(file.descriptor(), lock::bytes_of(description.encode()), 0, file.path()));
  // Locked before it has its name, so nobody ever takes it for a dead one.
  CACHECTL_TRY(file.commit(leases, id.text(), lock::Durability::none));
  const auto give_up = [&](Error error) {
    for (const auto& name : {id.socket(), id.text()}) {
      [[maybe_unused]] const auto removed = leases.unlink(name);
    }
    return fail(std::move(error));
  };
  const auto listener = lock::listen_at(leases, id.socket());
  if (!listener) return give_up(listener.error());
  auto line = start_holder({id, locks, owner.process().descriptor(), listener->get(),
                            file.descriptor(), &leases, duration, &root,
                            description.key.value_or(""), description.replica != 0});
  if (!line) return give_up(std::move(line).error());
  return Taken(id, std::move(*line));
}

Result<void> check_alive(const Owner& owner) {
  if (!owner.process().has_ended()) return {};
  return fail(Errc::lease_lost,
              fmt::format("the owner, pid {}, ended before it got the lock", owner.identity().pid));
}

}  // namespace

Result<Taken> take(const Root& root, lock::HeldLock held, const Key* key, const Owner& owner,
                   std::chrono::nanoseconds duration, const Clock& clock) {
  CACHECTL_TRY(check_supported());
  CACHECTL_TRY(check_alive(owner));
  held.leave_note(owner.identity(), owner.command());
  const auto locks = locks_of(held);
  Description description;
  description.mode = locks.back().mode;
  if (key != nullptr) description.key = key->bytes();
  auto taken = hand_over(root, locks, std::move(description), owner, duration, clock);
  if (taken) {
    held.when_let_go({});  // the holder has it now
    held.leave_to_children();
  }
  return taken;
}

Result<Taken> take_replica(const Root& root, int descriptor, const Key& key, unsigned slot,
                           const Owner& owner, std::chrono::nanoseconds duration,
                           const Clock& clock) {
  CACHECTL_TRY(check_alive(owner));
  lock::OuterLock kept;
  kept.descriptor = descriptor;
  Description description;
  description.key = key.bytes();
  description.replica = slot;
  return hand_over(root, {kept}, std::move(description), owner, duration, clock);
}

Result<Borrowed> borrow(const Root& root, const Id& id) {
  const auto nothing_written = [](Error error) {
    return fail(std::move(error).advising("nothing was written"));
  };
  if (const auto lease = find(root, id); lease && *lease && (*lease)->description.replica != 0) {
    return nothing_written({Errc::usage, 0, "lease " + id.text() + " is that of a replica", {}});
  }
  auto answer = ask(root, id, {Request::Kind::descriptor, {}});
  if (!answer) return fail(std::move(answer).error());
  if (!*answer) return nothing_written(lost(root, id));
  const auto locks = decode_locks(**answer);
  if (!locks) {
    return fail(Errc::io, fmt::format("the holder of lease {} says: {}", id.text(),
                                      escaped((*answer)->text)));
  }
  // Of the file that others lock, and not of one that was put in its place.
  CACHECTL_ASSIGN(const auto named, root.directory().status(Root::kLockFile));
  for (const auto& lock : *locks) {
    CACHECTL_ASSIGN(const struct stat status, lock::status_of(lock.descriptor, Root::kLockFile));
    if (!named || !lock::same_file(*named, status)) {
      return nothing_written({Errc::lease_lost,
                              0,
                              "lease " + id.text() + " was lost: the lock file was replaced",
                              {}});
    }
  }
  return Borrowed{*locks, std::move((*answer)->descriptors)};
}

Result<std::vector<lock::Fd>> borrow_replica(const Root& root, const Id& id) {
  auto answer = ask(root, id, {Request::Kind::descriptor, {}});
  if (!answer) return fail(std::move(answer).error());
  if (!*answer) return fail(lost(root, id));
  return std::move((*answer)->descriptors);
}

Result<void> release(const Root& root, const Id& id) {
  return demand(root, id, {Request::Kind::release, {}});
}

Result<void> renew(const Root& root, const Id& id, std::chrono::nanoseconds duration) {
  return demand(root, id, {Request::Kind::renew, duration});
}

Result<std::optional<Lease>> find(const Root& root, const Id& id) {
  CACHECTL_ASSIGN(const auto leases, root.directory().find_below(Root::kLeases));
  if (!leases) return std::optional<Lease>();
  return read_lease(*leases, id);
}

Result<std::vector<Lease>> list(const Root& root) {
  std::vector<Lease> found;
  CACHECTL_ASSIGN(const auto leases, root.directory().find_below(Root::kLeases));
  if (!leases) return found;
  const auto visit = [&](const lock::Directory& in, const std::string& name) -> Result<bool> {
    const auto id = Id::parse(name);
    if (!id) return true;
    auto lease = read_lease(in, *id);
    // Of another user, or a later version: none of ours to list.
    if (lease && *lease && (*lease)->alive) found.push_back(std::move(**lease));
    return true;
  };
  CACHECTL_TRY(store::each_name(*leases, visit));
  std::sort(found.begin(), found.end(), [](const Lease& a, const Lease& b) {
    return std::pair(a.description.since, a.id.text()) <
           std::pair(b.description.since, b.id.text());
  });
  return found;
}

bool owner_relies_on(const Root& root, const Id& id) {
  const auto found = find(root, id);
  if (!found || !*found) return false;
  const auto& what = (*found)->description;
  return what.replica != 0 && what.ended == Ended::no &&
         lock::liveness(what.owner) == lock::Liveness::alive;
}

Error lost(const Root& root, const Id& id) {
  const auto lease = find(root, id);
  const auto fate = !lease    ? lease.error().describe()
                    : !*lease ? std::string("it was released, or never was")
                              : fate_of(**lease);
  return {Errc::lease_lost, 0, "lease " + id.text() + " was lost: " + fate, {}};
}

}  // namespace cachectl::lease
