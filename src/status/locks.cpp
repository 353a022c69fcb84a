#include "src/status/locks.hpp"

#include <fcntl.h>

#include <algorithm>

#include "lock/held_locks.hpp"
#include "src/store/store.hpp"

namespace cachectl::status {

namespace {

using lock::OwnerNote;
using lock::Slot;

/// The notes in the lock file by the first byte that their owner has locked, at depth 0.
std::unordered_map<std::uint64_t, OwnerNote> read_notes(int descriptor, std::string_view path) {
  constexpr std::size_t kMost = 1024;
  std::string text(kMost * OwnerNote::kSlotSize, '\0');
  std::unordered_map<std::uint64_t, OwnerNote> notes;
  const auto got = lock::read_full_at(descriptor, std::as_writable_bytes(std::span(text)), 0, path);
  if (!got) return notes;
  for (std::size_t at = 0; at + OwnerNote::kSlotSize <= *got; at += OwnerNote::kSlotSize) {
    auto note = OwnerNote::decode(std::string_view(text).substr(at, OwnerNote::kSlotSize));
    if (!note) continue;
    const auto start = Slot::from_id(note->id).range(0).start;
    notes.insert_or_assign(start, std::move(*note));
  }
  return notes;
}

Process process_of(pid_t pid) { return {pid, lock::command_line_of(pid)}; }

/// One of ours: the depth, and what of the table it is.
Lock described(const lock::HeldRange& held, std::uint64_t& byte) {
  Lock found;
  const auto base = Slot::whole().range(0).length + 1;  // what a depth takes
  found.depth = static_cast<unsigned>(held.range.start / base);
  byte = held.range.start % base;
  // The turnstile and all behind it are one range where one description holds both.
  const bool much = held.range.length != 1;
  found.kind = much ? Lock::Kind::cache : byte == 0 ? Lock::Kind::turn : Lock::Kind::key;
  if (found.kind != Lock::Kind::key) byte = Slot::whole().range(0).start;
  found.mode = held.mode;
  found.holders = held.holders;
  found.waiting = held.waiting;
  for (const pid_t pid : held.waiters) found.waiters.push_back(process_of(pid));
  return found;
}

}  // namespace

void Locks::name(const KeyHash& hash, std::string_view key) {
  if (by_byte.empty()) return;
  const auto byte = store::slot_of(hash).range(0).start;
  const auto [first, last] = by_byte.equal_range(byte);
  for (auto each = first; each != last; ++each) held[each->second].key = key;
}

Result<Locks> find_locks(const store::Root& root) {
  Locks locks;
  const auto& directory = root.directory();
  const auto path = directory.path_of(store::Root::kLockFile);
  CACHECTL_ASSIGN(auto opened, directory.open_if_exists(store::Root::kLockFile, O_RDONLY));
  if (!opened) return locks;
  // A FileLock closes it without harm to what this process holds, on each backend.
  const lock::FileLock file(std::move(*opened), path);
  CACHECTL_ASSIGN(const auto ranges, lock::held_ranges(file.descriptor(), store::Root::kLockFile));
  if (ranges.empty()) return locks;
  const auto notes = read_notes(file.descriptor(), path);
  for (const auto& held : ranges) {
    std::uint64_t byte = 0;
    auto found = described(held, byte);
    const auto note = notes.find(byte);
    // One that is left over from an earlier owner says nothing of this one.
    const bool alive =
        note != notes.end() && lock::liveness(note->second.process) != lock::Liveness::gone;
    if (found.kind != Lock::Kind::turn && alive) {
      found.owner = {note->second.process.pid, note->second.command};
      found.since = note->second.since;
    } else if (!found.holders.empty()) {
      found.owner = process_of(found.holders.front());
    }
    if (found.kind == Lock::Kind::key) locks.by_byte.emplace(byte, locks.held.size());
    locks.held.push_back(std::move(found));
  }
  return locks;
}

}  // namespace cachectl::status
