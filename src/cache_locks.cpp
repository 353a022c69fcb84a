#include "src/cache_state.hpp"

namespace cachectl {

using telemetry::What;

void tell_lost(const store::Root& root, const lease::Id& id, const Error& error) {
  if (error.code != Errc::lease_lost) return;
  const auto found = lease::find(root, id);
  if (!found || !*found) return;  // released
  const auto& what = (*found)->description;
  if (what.ended != lease::Ended::no && what.ended != lease::Ended::owner) return;
  root.tell({What::lease_lost, what.key.value_or("")});
}

namespace {

lock::Slot slot_of(const Key* key) {
  return key != nullptr ? store::slot_of(key->hash()) : lock::Slot::whole();
}

std::string_view bytes_of(const Key* key) {
  return key != nullptr ? std::string_view(key->bytes()) : std::string_view();
}

std::string name_of(const Key* key, const std::string& path) {
  return key != nullptr ? "'" + key->printable() + "'" : "the whole cache " + path;
}

}  // namespace

Result<lock::HeldLock> Cache::lock(const Key* key, lock::Mode mode, const lock::Deadline& deadline,
                                   std::string_view command) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  const auto slot = slot_of(key);
  CACHECTL_ASSIGN(auto held, store::acquire(*root, slot, bytes_of(key), mode, deadline, command));
  if (held) return std::move(*held);
  return fail(store::gave_up_waiting(*root, slot, name_of(key, path()), clock()));
}

std::optional<lock::OwnerNote> Cache::holder(const Key* key) const {
  const auto root = state_->existing();
  if (!root || *root == nullptr) return std::nullopt;
  return (*root)->locks().owner(slot_of(key));
}

Result<lock::OuterLocks> Cache::lock_on(int descriptor, const Key* key, lock::Mode mode,
                                        const lock::Deadline& deadline,
                                        const lock::ProcessIdentity& owner,
                                        std::string_view command) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  const auto slot = slot_of(key);
  const telemetry::Stopwatch waiting;
  CACHECTL_ASSIGN(auto locks,
                  root->locks().acquire_on(descriptor, slot, mode, deadline, owner, command));
  const auto what = locks ? What::lock_acquired : What::lock_timed_out;
  if (locks || !deadline.is_immediate()) tell({what, bytes_of(key), waiting.elapsed()});
  if (locks) return std::move(*locks);
  return fail(store::gave_up_waiting(*root, slot, name_of(key, path()), clock()));
}

Result<void> Cache::unlock_on(int descriptor) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  return root->locks().release_on(descriptor);
}

Result<lease::Taken> Cache::acquire(const Key* key, lock::Mode mode, const lock::Deadline& deadline,
                                    const lease::Owner& owner,
                                    std::chrono::nanoseconds duration) const {
  CACHECTL_TRY(lease::check_supported());
  CACHECTL_ASSIGN(auto held, lock(key, mode, deadline, owner.command()));
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  CACHECTL_ASSIGN(auto taken, lease::take(*root, std::move(held), key, owner, duration, clock()));
  tell({What::lease_acquired, bytes_of(key)});
  return taken;
}

namespace {

Error no_cache(const lease::Id& id, const std::string& path) {
  return {Errc::lease_lost, 0, "lease " + id.text() + " was lost: there is no cache " + path, {}};
}

/// A replica is its owner's when the holder of its lease was killed, too.
Result<bool> take_back_replica(const store::Root& root, const lease::Id& id) {
  CACHECTL_ASSIGN(const auto lease, lease::find(root, id));
  if (!lease || lease->description.replica == 0 || !lease->description.key) return false;
  CACHECTL_ASSIGN(const auto key, Key::from(*lease->description.key));
  const auto path = pool::Pool::path_of(root, key.hash(), lease->description.replica);
  return pool::Pool::take_back(root, path, id.text());
}

}  // namespace

Result<std::vector<lock::Fd>> Cache::hold_replica(const lease::Id& id) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  return lease::borrow_replica(*root, id);
}

Result<lease::Taken> Cache::lend(const Key& key, const pool::Slot& slot, const lease::Owner& owner,
                                 std::chrono::nanoseconds duration) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  return lease::take_replica(*root, slot.descriptor(), key, slot.number(), owner, duration,
                             clock());
}

Result<void> Cache::release(const lease::Id& id) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return fail(no_cache(id, path()));
  auto released = lease::release(*root, id);
  if (released || released.error().code != Errc::lease_lost) return released;
  CACHECTL_ASSIGN(const bool was_lent, take_back_replica(*root, id));
  if (was_lent) return {};
  tell_lost(*root, id, released.error());
  return released;
}

Result<void> Cache::renew(const lease::Id& id, std::chrono::nanoseconds duration) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return fail(no_cache(id, path()));
  auto renewed = lease::renew(*root, id, duration);
  if (!renewed) tell_lost(*root, id, renewed.error());
  return renewed;
}

Result<std::optional<lease::Lease>> Cache::find_lease(const lease::Id& id) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::optional<lease::Lease>();
  return lease::find(*root, id);
}

Result<std::vector<lease::Lease>> Cache::leases() const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::vector<lease::Lease>();
  return lease::list(*root);
}

}  // namespace cachectl
