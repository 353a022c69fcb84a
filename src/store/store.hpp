// Store: finding and removing what is under a key.
//
// Reads take no lock. Removal is done under the key's lock, which the caller holds.
#pragma once

#include "src/clock.hpp"
#include "src/key.hpp"
#include "src/store/entry.hpp"
#include "src/store/record_writer.hpp"
#include "src/store/root.hpp"

namespace cachectl::store {

/// The key's value, fresh or not.
[[nodiscard]] Result<Lookup> find(const Root& root, const Key& key, Want want = Want::value);

/// The outcome of the last attempt that was not stored, if a clean-up has left it.
[[nodiscard]] Result<Lookup> find_attempt(const Root& root, const Key& key,
                                          Want want = Want::value);

/// The error of a caller who can do with values of the other kind only. `advice`: what to do.
[[nodiscard]] Error other_kind(const Key& key, Kind kind, std::string advice);

/// What a new record of a key follows.
struct Newest {
  Generation generation = 0;  ///< of the newest of record and attempt; 0: there is neither
  Generation tree = 0;        ///< the generation in trees/ that the record names; 0: none
};
[[nodiscard]] Result<Newest> newest(const Root& root, const Key& key);

/// The lock that serializes the writers of a key.
[[nodiscard]] lock::Slot slot_of(const KeyHash& hash);

/// Locks as LockTable::acquire does, and tells who watches: how long that took, and how long
/// it is held. `key` says what the slot is of; empty: the whole cache.
[[nodiscard]] Result<std::optional<lock::HeldLock>> acquire(const Root& root, lock::Slot slot,
                                                            std::string_view key, lock::Mode mode,
                                                            const lock::Deadline& deadline,
                                                            std::string_view command);

/// The error of a wait for a lock that ended at its deadline: who holds it and since when.
/// `what` names what is locked.
[[nodiscard]] Error gave_up_waiting(const Root& root, lock::Slot slot, std::string_view what,
                                    const Clock& clock);

/// Removes the record of a key. Made durable like a publish. True: there was one.
[[nodiscard]] Result<bool> remove(const Root& root, const KeyHash& hash,
                                  lock::Durability durability);

}  // namespace cachectl::store
