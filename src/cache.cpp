#include "src/cache.hpp"

#include <fcntl.h>

#include "src/cache_state.hpp"

namespace cachectl {

using telemetry::What;

Result<const store::Root*> Cache::State::existing() {
  const std::lock_guard guard(mutex);
  if (!root) {
    CACHECTL_ASSIGN(auto found, store::Root::open(options.root, options.sharing, options.outer));
    if (found) adopt(std::move(*found));
  }
  return root.get();
}

void Cache::State::adopt(store::Root found) {
  root = std::make_unique<store::Root>(std::move(found));
  root->observe(&options.observers);
}

Result<void> Cache::State::borrow() {
  CACHECTL_ASSIGN(const auto id, lease::Id::parse(options.lease));
  CACHECTL_ASSIGN(auto found, store::Root::open(options.root, options.sharing));
  if (!found) {
    return fail(Errc::lease_lost,
                "lease " + id.text() + " was lost: there is no cache " + options.root,
                "nothing was written");
  }
  auto lent = lease::borrow(*found, id);
  if (!lent) {
    found->observe(&options.observers);
    tell_lost(*found, id, lent.error());
    return fail(std::move(lent).error());
  }
  borrowed = std::move(*lent);
  // Like those that a parent hands down, so that a source keeps the lock after our death.
  for (const auto& descriptor : borrowed.descriptors) ::fcntl(descriptor.get(), F_SETFD, 0);
  options.outer.insert(options.outer.end(), borrowed.locks.begin(), borrowed.locks.end());
  return {};
}

Result<Cache> Cache::open(CacheOptions options) {
  auto state = std::make_shared<State>();
  state->options = std::move(options);
  if (!state->options.lease.empty()) CACHECTL_TRY(state->borrow());
  CACHECTL_TRY(state->existing());
  if (state->options.clock == nullptr) state->options.clock = &state->system_clock;
  state->fleet.emplace(
      refresh::Fleet::Options{state->options.remote, state->options.shares,
                              [raw = state.get()] { return raw->existing().value_or(nullptr); },
                              state->options.warn, state->options.clock});
  return Cache(std::move(state));
}

Result<const store::Root*> Cache::ensure_root() const {
  const std::lock_guard guard(state_->mutex);
  if (!state_->root) {
    const auto& options = state_->options;
    CACHECTL_ASSIGN(auto root,
                    store::Root::open_or_create(options.root, options.sharing, options.outer));
    state_->adopt(std::move(root));
  }
  return state_->root.get();
}

Result<const store::Root*> Cache::root() const { return state_->existing(); }
const std::string& Cache::path() const { return state_->options.root; }
const Clock& Cache::clock() const { return *state_->options.clock; }
bool Cache::exists() const { return state_->existing().value_or(nullptr) != nullptr; }

void Cache::tell(const telemetry::Happening& what) const {
  telemetry::tell(&state_->options.observers, what);
}

void Cache::tell_read(const Key& key, const store::RecordHeader* header, std::uint64_t bytes,
                      const telemetry::Stopwatch& since) const {
  if (header == nullptr) return tell({What::miss, key.bytes()});
  tell({What::hit, key.bytes(), since.elapsed(), header->source_duration, bytes, header->generation,
        header->exit_status});
}

void Cache::warn(const Error& what) const {
  if (state_->options.warn) state_->options.warn(what);
}

std::optional<bool> Cache::is_remote(const Key& key) const {
  const auto* shared = state_->fleet->find(key);
  return shared != nullptr ? shared->has(key) : std::nullopt;
}

std::unique_ptr<refresh::Coherence> Cache::follow_fleet(
    std::vector<refresh::Coherence::Kept> kept) const {
  return state_->fleet->follow(std::move(kept));
}

Result<bool> Cache::get_remote_to(const Key& key, int descriptor, std::string_view name) const {
  CACHECTL_TRY(ensure_root());
  CACHECTL_ASSIGN(const auto* shared, state_->fleet->need());
  return shared->copy_to(key, descriptor, name);
}

Result<bool> Cache::remove_remote(const Key& key) const {
  CACHECTL_TRY(ensure_root());
  CACHECTL_ASSIGN(const auto* shared, state_->fleet->need());
  return shared->try_remove(key);
}

Result<bool> Cache::take_shared(const Key& key) const {
  if (!state_->fleet->shares(key)) return false;
  // A cache that may only be read has nothing from the server.
  const auto do_without = [&](const Error& why) -> Result<bool> {
    if (!refresh::can_do_without(why)) return fail(why);
    warn(Error(why).within("what the server has cannot be stored here"));
    return false;
  };
  const auto root = ensure_root();
  if (!root) return do_without(root.error());
  const auto* shared = state_->fleet->find(key);
  if (shared == nullptr) return false;
  // Of all who miss at once, one asks the server. Nobody waits for a source that runs.
  const auto patience = lock::Deadline::after(std::chrono::seconds(1));
  const auto held = store::acquire(**root, store::slot_of(key.hash()), key.bytes(),
                                   lock::Mode::exclusive, patience, "cachectl get");
  if (!held) return do_without(held.error());
  if (!*held) return false;
  CACHECTL_ASSIGN(const auto found, store::find(**root, key, store::Want::header));
  if (found.entry && store::is_fresh(found.entry->header(), clock().now())) return true;
  auto taken = shared->take(key, store::Retention());
  return taken ? taken : do_without(taken.error());
}

Result<std::optional<store::Entry>> Cache::find_fresh(const Key& key) const {
  CACHECTL_ASSIGN(auto found, find_on_disk(key));
  if (found || !state_->fleet->shares(key)) return found;
  CACHECTL_ASSIGN(const bool taken, take_shared(key));
  return taken ? find_on_disk(key) : std::move(found);
}

Result<std::optional<store::Entry>> Cache::find_on_disk(const Key& key) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::optional<store::Entry>();
  CACHECTL_ASSIGN(auto lookup, store::find(*root, key));
  if (lookup.defect) warn(*lookup.defect);
  if (!lookup.entry || !store::is_fresh(lookup.entry->header(), clock().now())) {
    return std::optional<store::Entry>();
  }
  return std::move(lookup.entry);
}

/// A damaged value is a miss with a warning.
Result<bool> Cache::whole(Result<void> verdict) const {
  if (verdict) return true;
  if (verdict.error().code != Errc::corrupt) return fail(std::move(verdict).error());
  warn(verdict.error());
  return false;
}

namespace {

Result<void> check_bytes(const Key& key, const store::Entry& entry) {
  const auto kind = entry.header().kind;
  if (kind == store::Kind::bytes) return {};
  return fail(store::other_kind(key, kind, "find it with: cachectl path"));
}

}  // namespace

Result<std::optional<store::Entry>> Cache::stored(const Key& key) const {
  std::optional<store::Entry> none;
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return none;
  CACHECTL_ASSIGN(auto lookup, store::find(*root, key));
  if (lookup.defect) warn(*lookup.defect);
  if (!lookup.entry) return none;
  CACHECTL_TRY(check_bytes(key, *lookup.entry));
  CACHECTL_ASSIGN(const bool intact, whole(lookup.entry->verify()));
  return intact ? std::move(lookup.entry) : std::move(none);
}

Result<std::optional<store::Entry>> Cache::get(const Key& key) const {
  const telemetry::Stopwatch asked;
  CACHECTL_ASSIGN(auto entry, find_fresh(key));
  if (entry) {
    CACHECTL_TRY(check_bytes(key, *entry));
    CACHECTL_ASSIGN(const bool intact, whole(entry->verify()));
    if (!intact) entry.reset();
  }
  tell_read(key, entry ? &entry->header() : nullptr, entry ? entry->header().output_size : 0,
            asked);
  return entry;
}

Result<bool> Cache::get_to(const Key& key, int descriptor, std::string_view name) const {
  const telemetry::Stopwatch asked;
  bool is_hit = false;
  CACHECTL_ASSIGN(auto entry, find_fresh(key));
  if (entry) {
    CACHECTL_TRY(check_bytes(key, *entry));
    CACHECTL_ASSIGN(is_hit, whole(entry->write_verified(descriptor, store::Stream::output, name)));
  }
  tell_read(key, is_hit ? &entry->header() : nullptr, is_hit ? entry->header().output_size : 0,
            asked);
  return is_hit;
}

Result<store::Lookup> Cache::inspect(const Key& key) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return store::Lookup{};
  return store::find(*root, key, store::Want::look);
}

Result<std::optional<store::Entry>> Cache::last_failure(const Key& key) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::optional<store::Entry>();
  CACHECTL_ASSIGN(auto attempt, store::find_attempt(*root, key, store::Want::look));
  if (!attempt.entry || attempt.entry->header().failures == 0) return std::optional<store::Entry>();
  CACHECTL_ASSIGN(const auto value, store::find(*root, key, store::Want::header));
  const bool is_newer =
      !value.entry || value.entry->header().generation < attempt.entry->header().generation;
  return is_newer ? std::move(attempt.entry) : std::optional<store::Entry>();
}

Result<std::optional<store::Tree>> Cache::tree(const Key& key) const {
  // Between the record and its generation a newer one may be published and prune that one.
  constexpr int kAttempts = 10;
  const telemetry::Stopwatch asked;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CACHECTL_ASSIGN(auto entry, find_fresh(key));
    if (!entry) {
      tell_read(key, nullptr, 0, asked);
      return std::optional<store::Tree>();
    }
    const auto kind = entry->header().kind;
    if (kind != store::Kind::tree) {
      return fail(store::other_kind(key, kind, "print it with: cachectl get"));
    }
    CACHECTL_ASSIGN(const store::Root* root, state_->existing());
    CACHECTL_ASSIGN(auto found,
                    store::pin_tree(*root, key.hash(), entry->header().tree_generation));
    if (!found) continue;
    tell_read(key, &entry->header(), 0, asked);
    return found;
  }
  tell_read(key, nullptr, 0, asked);
  warn({Errc::corrupt, 0, "the tree of '" + key.printable() + "' is missing", {}});
  return std::optional<store::Tree>();
}

Result<lock::StagedFile> Cache::scratch() const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  CACHECTL_ASSIGN(const auto staging, root->writable(store::Root::kStaging));
  CACHECTL_ASSIGN(auto file, lock::StagedFile::create(staging, root->file_mode()));
  CACHECTL_TRY(file.make_anonymous());
  return file;
}

}  // namespace cachectl
