#include "src/cache.hpp"

#include <fcntl.h>

#include <boost/filesystem/path.hpp>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>

#include "src/store/scan.hpp"
#include "src/telemetry/counter_file.hpp"

namespace cachectl {

using telemetry::What;

namespace {

/// For who finds out: that a lease was lost. Its holder has told if it could.
void tell_lost(const store::Root& root, const lease::Id& id, const Error& error) {
  if (error.code != Errc::lease_lost) return;
  const auto found = lease::find(root, id);
  if (!found || !*found) return;  // released
  const auto& what = (*found)->description;
  if (what.ended != lease::Ended::no && what.ended != lease::Ended::owner) return;
  root.tell({What::lease_lost, what.key.value_or("")});
}

}  // namespace

struct Cache::State {
  CacheOptions options;
  SystemClock system_clock;
  std::mutex mutex;  // guards the creation of root
  std::unique_ptr<store::Root> root;
  lease::Borrowed borrowed;  // what the outer locks of a lease name
  std::optional<refresh::Fleet> fleet;

  /// Null where there is none yet; another process may make it at any time. Once set it
  /// stays.
  Result<const store::Root*> existing() {
    const std::lock_guard guard(mutex);
    if (!root) {
      CACHECTL_ASSIGN(auto found, store::Root::open(options.root, options.sharing, options.outer));
      if (found) adopt(std::move(*found));
    }
    return root.get();
  }

  void adopt(store::Root found) {
    root = std::make_unique<store::Root>(std::move(found));
    root->observe(&options.observers);
  }

  /// Makes the lease that was named an outer lock.
  Result<void> borrow() {
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
};

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

std::unique_ptr<refresh::Coherence> Cache::follow_fleet() const { return state_->fleet->follow(); }

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
  const auto root = ensure_root();
  if (!root && refresh::can_do_without(root.error())) return false;  // it may only be read
  if (!root) return fail(root.error());
  const auto* shared = state_->fleet->find(key);
  if (shared == nullptr) return false;
  // Of all who miss at once, one asks the server. Nobody waits for a source that runs.
  const auto patience = lock::Deadline::after(std::chrono::seconds(1));
  CACHECTL_ASSIGN(const auto held, store::acquire(**root, store::slot_of(key.hash()), key.bytes(),
                                                  lock::Mode::exclusive, patience, "cachectl get"));
  if (!held) return false;
  CACHECTL_ASSIGN(const auto found, store::find(**root, key, store::Want::header));
  if (found.entry && store::is_fresh(found.entry->header(), clock().now())) return true;
  auto taken = shared->take(key, store::Retention());
  if (!taken && refresh::can_do_without(taken.error())) {
    warn(taken.error());
    return false;
  }
  return taken;
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
  if (entry.header().kind == store::Kind::bytes) return {};
  return fail(Errc::usage, "the value of '" + key.printable() + "' is a file or directory",
              "find it with: cachectl path");
}

}  // namespace

namespace {

store::RecordHeader header_of(const SetPolicy& policy, const store::Newest& newest, WallTime now) {
  store::RecordHeader header;
  header.generation = store::next_generation(newest.generation, now);
  header.created = now;
  header.expires = later(now, policy.ttl);
  header.stale_while_revalidate = policy.stale_while_revalidate;
  header.stale_if_error = policy.stale_if_error;
  return header;
}

Result<store::RecordWriter> staged(const store::Root& root, const Key& key, lock::Bytes value,
                                   const SetPolicy& policy) {
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(root, key, policy.durability));
  CACHECTL_TRY(writer.append_output(value));
  return writer;
}

Result<store::RecordWriter> staged_from(const store::Root& root, const Key& key, int descriptor,
                                        std::string_view name, const SetPolicy& policy) {
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(root, key, policy.durability));
  std::vector<std::byte> block(128 * 1024);
  while (true) {
    CACHECTL_ASSIGN(const std::size_t got, lock::read_some(descriptor, block, name));
    if (got == 0) return writer;
    CACHECTL_TRY(writer.append_output(lock::Bytes(block).first(got)));
  }
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

Result<std::optional<store::Generation>> Cache::set(const Key& key, lock::Bytes value,
                                                    const SetPolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  CACHECTL_ASSIGN(auto writer, staged(*root, key, value, policy));
  return publish(std::move(writer), *root, key, policy);
}

Result<std::optional<store::Generation>> Cache::set_from(const Key& key, int descriptor,
                                                         std::string_view name,
                                                         const SetPolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  CACHECTL_ASSIGN(auto writer, staged_from(*root, key, descriptor, name, policy));
  return publish(std::move(writer), *root, key, policy);
}

Result<bool> Cache::set_remote(const Key& key, lock::Bytes value, const SetPolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  CACHECTL_ASSIGN(auto writer, staged(*root, key, value, policy));
  return give(std::move(writer), *root, key, policy);
}

Result<bool> Cache::set_remote_from(const Key& key, int descriptor, std::string_view name,
                                    const SetPolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  CACHECTL_ASSIGN(auto writer, staged_from(*root, key, descriptor, name, policy));
  return give(std::move(writer), *root, key, policy);
}

Result<bool> Cache::give(store::RecordWriter writer, const store::Root& root, const Key& key,
                         const SetPolicy& policy) const {
  CACHECTL_ASSIGN(const auto* shared, state_->fleet->need());
  CACHECTL_ASSIGN(const auto newest, store::newest(root, key));
  CACHECTL_ASSIGN(const auto header, writer.complete(header_of(policy, newest, clock().now())));
  return shared->publish(key, header, writer.descriptor());
}

Result<std::optional<store::Generation>> Cache::set_tree(const Key& key, const std::string& path,
                                                         const SetPolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  std::error_code error;
  // A link that the user names is the user's business; none in the tree is followed.
  const boost::filesystem::path where(std::filesystem::canonical(path, error).native());
  if (error) return fail(system_error(path, error.value()));
  CACHECTL_ASSIGN(const auto above, lock::Directory::open(where.parent_path().native()));
  CACHECTL_ASSIGN(auto staged, store::StagedTree::create(*root));
  tree::CopyOptions options;
  options.checksums = tree::Checksums::yes;
  CACHECTL_ASSIGN(const auto copied,
                  tree::copy_tree(above, where.filename().native(), staged.directory(),
                                  store::StagedTree::kValue, options));
  CACHECTL_TRY(staged.seal(copied.manifest, policy.durability));
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(*root, key, policy.durability));
  return publish(std::move(writer), *root, key, policy, &staged);
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
    if (entry->header().kind != store::Kind::tree) {
      return fail(Errc::usage, "the value of '" + key.printable() + "' is no file or directory",
                  "print it with: cachectl get");
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

Result<pool::Pool> Cache::pool(const Key& key, pool::Options options) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  options.key = key.bytes();
  return pool::Pool::open(*root, key.hash(), std::move(options));
}

Result<std::optional<pool::Pool>> Cache::find_pool(const Key& key, pool::Options options) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::optional<pool::Pool>();
  options.key = key.bytes();
  return pool::Pool::find(*root, key.hash(), std::move(options));
}

namespace {

/// What is stored under a hash, for who does not know the key.
Result<store::Lookup> find_record(const store::Root& root, const KeyHash& hash) {
  return store::open_record(root.directory(), store::entry_name(hash).path(), nullptr,
                            store::Want::header);
}

/// The hashes of the keys that have a pool, in no order.
Result<std::vector<KeyHash>> pooled(const store::Root& root) {
  std::vector<KeyHash> hashes;
  CACHECTL_ASSIGN(const auto directory, root.directory().find_below(pool::Pool::kPools));
  if (!directory) return hashes;
  CACHECTL_TRY(store::each_name(*directory, [&](const auto&, const std::string& name) {
    if (KeyHash hash; KeyHash::parse(name, hash)) hashes.push_back(hash);
    return Result<bool>(true);
  }));
  return hashes;
}

}  // namespace

Result<std::vector<Cache::KnownPool>> Cache::pools() const {
  std::vector<KnownPool> found;
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return found;
  CACHECTL_ASSIGN(const auto hashes, pooled(*root));
  for (const auto& hash : hashes) {
    CACHECTL_ASSIGN(auto pool, pool::Pool::find(*root, hash, {}));
    if (!pool) continue;
    const auto record = find_record(*root, hash);
    const bool known = record && record->entry;
    found.push_back({hash, known ? std::string(record->entry->key()) : "", std::move(*pool)});
  }
  return found;
}

Result<std::optional<pool::SlotInfo>> Cache::find_replica(const std::string& path) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::optional<pool::SlotInfo>();
  return pool::Pool::locate(*root, path);
}

Result<void> Cache::take_back(const std::string& path, std::string_view lease) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  return pool::Pool::take_back(*root, path, lease);
}

Result<std::optional<std::vector<std::string>>> Cache::verify(const Key& key) const {
  using Problems = std::vector<std::string>;
  CACHECTL_ASSIGN(auto lookup, inspect(key));
  if (lookup.defect) return std::optional(Problems{lookup.defect->message});
  if (!lookup.entry) return std::optional<Problems>();
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  CACHECTL_ASSIGN(auto problems, store::value_problems(*root, key.hash(), *lookup.entry));
  return std::optional(std::move(problems));
}

Result<store::Verified> Cache::verify_all(const store::VerifyOptions& options) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return store::Verified{};
  return store::verify_all(*root, options);
}

Result<std::optional<store::Generation>> Cache::publish_here(store::RecordWriter writer,
                                                             const store::Root& root,
                                                             const Key& key,
                                                             const SetPolicy& policy,
                                                             store::StagedTree* tree) const {
  CACHECTL_ASSIGN(const auto held, lock(&key, lock::Mode::exclusive, policy.deadline,
                                        "cachectl set " + key.printable()));
  const auto now = clock().now();
  if (policy.if_absent) {
    CACHECTL_ASSIGN(auto previous, store::find(root, key));
    if (previous.entry && store::is_fresh(previous.entry->header(), now) &&
        previous.entry->verify()) {
      return std::optional<store::Generation>();
    }
  }
  CACHECTL_ASSIGN(const auto newest, store::newest(root, key));
  const auto header = header_of(policy, newest, now);
  CACHECTL_TRY(held.still_valid());
  CACHECTL_TRY(store::publish(root, key, tree, writer, header, newest.tree, policy.retention,
                              policy.durability));
  return std::optional(header.generation);
}

/// Gives it to the other machines when the lock is free again.
Result<std::optional<store::Generation>> Cache::publish(store::RecordWriter writer,
                                                        const store::Root& root, const Key& key,
                                                        const SetPolicy& policy,
                                                        store::StagedTree* tree) const {
  CACHECTL_ASSIGN(const auto published, publish_here(std::move(writer), root, key, policy, tree));
  if (const auto* shared = published ? state_->fleet->find(key) : nullptr) shared->give(key);
  return published;
}

Result<bool> Cache::remove_locked(const store::Root& root, const KeyHash& hash,
                                  std::string_view key, const WritePolicy& policy) const {
  const auto slot = store::slot_of(hash);
  CACHECTL_ASSIGN(const auto held, store::acquire(root, slot, key, lock::Mode::exclusive,
                                                  policy.deadline, "cachectl delete"));
  if (!held) {
    return fail(store::gave_up_waiting(root, slot, "'" + escaped(key) + "'", clock()));
  }
  CACHECTL_ASSIGN(const bool removed, store::remove(root, hash, policy.durability));
  if (removed) tell({What::removed, key});
  return removed;
}

Result<bool> Cache::remove(const Key& key, const WritePolicy& policy) const {
  CACHECTL_ASSIGN(const bool removed, remove_here(key, policy));
  if (state_->fleet->shares(key) && ensure_root()) {
    if (const auto* shared = state_->fleet->find(key)) shared->remove(key);
  }
  return removed;
}

Result<bool> Cache::remove_here(const Key& key, const WritePolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return false;
  // Nothing there: no lock is needed to know that, not even a writable cache.
  CACHECTL_ASSIGN(const auto status,
                  root->directory().status(store::entry_name(key.hash()).path()));
  if (!status) {
    CACHECTL_ASSIGN(const auto attempt, store::find_attempt(*root, key, store::Want::header));
    if (!attempt.entry) return false;
  }
  return remove_locked(*root, key.hash(), key.bytes(), policy);
}

Result<std::uint64_t> Cache::remove_if(const std::function<bool(std::string_view)>& wanted,
                                       const WritePolicy& policy) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  std::uint64_t count = 0;
  if (root == nullptr) return count;
  std::optional<Error> unknown;
  CACHECTL_TRY(store::each_entry(
      *root, 0, [&](const lock::Directory& in, const std::string& name) -> Result<bool> {
        KeyHash hash;
        if (!store::hash_of_entry(in, name, hash)) return true;
        auto found = store::open_record(in, name, nullptr, store::Want::header);
        if (!found && found.error().code == Errc::format) {
          // Not ours to remove; the rest still is.
          unknown = std::move(found).error();
          return true;
        }
        if (!found) return fail(std::move(found).error());
        // A damaged record has no key that could be asked for.
        if (!found->entry || !wanted(found->entry->key())) return true;
        CACHECTL_ASSIGN(const bool removed,
                        remove_locked(*root, hash, found->entry->key(), policy));
        count += removed ? 1 : 0;
        const auto key = Key::from(std::string(found->entry->key()));
        const auto* shared = key ? state_->fleet->find(*key) : nullptr;
        if (shared != nullptr) shared->remove(*key);
        return true;
      }));
  if (unknown) return fail(std::move(*unknown));
  return count;
}

Result<bool> Cache::refresh_behind(const Key& key, const refresh::Source& source,
                                   const refresh::RunPolicy& policy, store::Generation generation,
                                   refresh::Child child) const {
  const refresh::Warn tell = [this](const Error& what) { warn(what); };
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return false;
  return refresh::Coalescer(*root, clock(), tell, state_->fleet->finder(key))
      .refresh_behind(key, source, policy, generation, child);
}

Result<refresh::RunResult> Cache::run(const Key& key, const refresh::Source& source,
                                      const refresh::RunPolicy& policy,
                                      const refresh::Sink& sink) const {
  const refresh::Warn tell = [this](const Error& what) { warn(what); };
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) {
    auto created = ensure_root();
    if (!created && !source.makes_tree && refresh::can_do_without(created.error())) {
      return refresh::run_without(key, source, policy, sink, std::move(created).error(), tell);
    }
    if (!created) return fail(std::move(created).error());
    root = *created;
  }
  return refresh::Coalescer(*root, clock(), tell, state_->fleet->finder(key))
      .run(key, source, policy, sink);
}

Result<refresh::Computed> Cache::compute(const Key& key, const refresh::ComputePolicy& policy,
                                         const refresh::Make& make) const {
  const refresh::Warn tell = [this](const Error& what) { warn(what); };
  const auto root = ensure_root();
  if (root)
    return refresh::Computer(**root, clock(), tell, state_->fleet->finder(key))
        .compute(key, policy, make);
  if (!refresh::can_do_without(root.error())) return fail(root.error());
  return refresh::compute_uncached(make, root.error(), tell);
}

Result<std::optional<refresh::Computed>> Cache::compute_anew(const Key& key,
                                                             const refresh::ComputePolicy& policy,
                                                             const refresh::Make& make,
                                                             store::Generation generation) const {
  const refresh::Warn tell = [this](const Error& what) { warn(what); };
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  return refresh::Computer(*root, clock(), tell, state_->fleet->finder(key))
      .compute_anew(key, policy, make, generation);
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

Result<void> Cache::list(const std::function<void(const Listed&)>& row) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return {};
  return store::each_record(
      *root,
      [&](const KeyHash&, const store::Entry& entry) {
        row({std::string(entry.key()), entry.header()});
      },
      [this](const Error& what) { warn(what); });
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
  if (!released) tell_lost(*root, id, released.error());
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

Result<store::GcReport> Cache::collect(const store::GcPolicy& policy,
                                       const IdleReplicas& idle) const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return store::GcReport{};
  auto with_leases = policy;
  with_leases.keeps_lease = [root](const std::string& name) {
    const auto id = lease::Id::parse(name);
    return id && lease::owner_relies_on(*root, *id);
  };
  CACHECTL_ASSIGN(auto report, store::collect(*root, clock(), with_leases));
  if (report.complete) trim_pools(*root, policy, idle, report);
  return report;
}

void Cache::trim_pools(const store::Root& root, const store::GcPolicy& policy,
                       const IdleReplicas& idle, store::GcReport& report) const {
  const auto trim = [&](const KeyHash& hash) -> Result<void> {
    CACHECTL_ASSIGN(const auto pool, pool::Pool::find(root, hash, {}));
    if (!pool) return {};
    CACHECTL_ASSIGN(const auto record, find_record(root, hash));
    const auto most = idle.find(hash.hex());
    if (record.entry && most == idle.end()) return {};
    CACHECTL_ASSIGN(const unsigned removed, pool->trim(record.entry ? most->second : 0,
                                                       policy.dry_run == store::DryRun::yes));
    report.replicas.files += removed;
    return {};
  };
  const auto hashes = pooled(root);
  if (!hashes) report.problems.push_back(hashes.error());
  for (const auto& hash : hashes.value_or(std::vector<KeyHash>())) {
    if (auto trimmed = trim(hash); !trimmed) report.problems.push_back(trimmed.error());
    if (policy.deadline.passed()) return;
  }
}

Result<std::optional<telemetry::Report>> Cache::counters() const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return std::optional<telemetry::Report>();
  return telemetry::read_counters(root->directory());
}

Result<void> Cache::reset_counters() const {
  CACHECTL_ASSIGN(const store::Root* root, state_->existing());
  if (root == nullptr) return {};
  return telemetry::CounterFile::replace(root->directory(), root->file_mode());
}

}  // namespace cachectl
