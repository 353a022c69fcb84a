#include "src/store/store.hpp"

#include <algorithm>

#include "src/store/change_table.hpp"
#include "src/store/trees.hpp"

namespace cachectl::store {

Result<Lookup> find(const Root& root, const Key& key, Want want) {
  return open_record(root.directory(), entry_name(key.hash()).path(), &key, want);
}

namespace {

std::string attempt_path(const KeyHash& hash) {
  return std::string(Root::kAttempts) + "/" + hash.hex();
}

}  // namespace

Result<Lookup> find_attempt(const Root& root, const Key& key, Want want) {
  return open_record(root.directory(), attempt_path(key.hash()), &key, want);
}

Error other_kind(const Key& key, Kind kind, std::string advice) {
  const std::string is_one = kind == Kind::tree ? "a" : "no";
  return {Errc::usage, 0,
          "the value of '" + key.printable() + "' is " + is_one + " file or directory",
          std::move(advice)};
}

Result<Newest> newest(const Root& root, const Key& key) {
  CACHECTL_ASSIGN(const auto record, find(root, key, Want::header));
  CACHECTL_ASSIGN(const auto attempt, find_attempt(root, key, Want::header));
  return Newest{std::max(record.entry ? record.entry->header().generation : 0,
                         attempt.entry ? attempt.entry->header().generation : 0),
                record.entry ? record.entry->header().tree_generation : 0};
}

lock::Slot slot_of(const KeyHash& hash) { return lock::Slot::of(hash.low); }

Result<std::optional<lock::HeldLock>> acquire(const Root& root, lock::Slot slot,
                                              std::string_view key, lock::Mode mode,
                                              const lock::Deadline& deadline,
                                              std::string_view command) {
  using telemetry::What;
  const telemetry::Stopwatch waiting;
  CACHECTL_ASSIGN(auto held, root.locks().acquire(slot, mode, deadline, command));
  const auto* observers = root.observers();
  if (observers == nullptr || observers->empty()) return held;
  if (!held) {
    // Who only tried has not waited.
    if (!deadline.is_immediate()) root.tell({What::lock_timed_out, key, waiting.elapsed()});
    return held;
  }
  root.tell({What::lock_acquired, key, waiting.elapsed()});
  held->when_let_go([observers, key = std::string(key), since = telemetry::Stopwatch()] {
    telemetry::tell(observers, {What::lock_released, key, since.elapsed()});
  });
  return held;
}

Error gave_up_waiting(const Root& root, lock::Slot slot, std::string_view what,
                      const Clock& clock) {
  const auto owner = root.locks().owner(slot);
  const auto now = std::chrono::floor<std::chrono::seconds>(clock.now());
  return {Errc::timeout,
          0,
          "gave up waiting for the lock of " + std::string(what) + ", held by " +
              (owner ? escaped(owner->describe(now)) : "an unknown process"),
          {}};
}

Result<bool> remove(const Root& root, const KeyHash& hash, lock::Durability durability) {
  // A failure that is remembered is not to keep the source from being tried.
  CACHECTL_TRY(root.directory().unlink(attempt_path(hash)));
  const auto name = entry_name(hash);
  CACHECTL_ASSIGN(const auto directory, root.directory().find_below(name.directory));
  if (!directory) return false;
  // What cannot be read is removed all the same.
  const auto last = open_record(root.directory(), name.path(), nullptr, Want::header);
  const Change change(root, hash);
  CACHECTL_ASSIGN(const bool removed, directory->unlink(name.file));
  if (removed && durability == lock::Durability::full) CACHECTL_TRY(directory->sync());
  if (removed && last && last->entry && last->entry->header().kind == Kind::tree) {
    CACHECTL_TRY(
        supersede_tree(root, hash, last->entry->key(), last->entry->header().tree_generation));
  }
  return removed;
}

}  // namespace cachectl::store
