#include <boost/filesystem/path.hpp>
#include <filesystem>
#include <system_error>

#include "src/cache_state.hpp"
#include "src/store/scan.hpp"

namespace cachectl {

using telemetry::What;

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
  const auto cache = std::filesystem::canonical(root->path(), error).native();
  if (!error && (cache + "/").starts_with(where.native() + "/")) {
    return fail(Errc::usage, path + ": the cache is in it, at " + cache,
                "store a directory beside the cache, or give the cache another place");
  }
  CACHECTL_ASSIGN(const auto above, lock::Directory::open(where.parent_path().native()));
  CACHECTL_ASSIGN(auto staged, store::StagedTree::create(*root));
  tree::CopyOptions options;
  options.methods.insert(options.methods.begin(), tree::Method::snapshot);
  options.checksums = tree::Checksums::yes;
  CACHECTL_ASSIGN(const auto copied,
                  tree::copy_tree(above, where.filename().native(), staged.directory(),
                                  store::StagedTree::kValue, options));
  CACHECTL_TRY(staged.seal(copied.manifest, policy.durability));
  CACHECTL_ASSIGN(auto writer, store::RecordWriter::create(*root, key, policy.durability));
  return publish(std::move(writer), *root, key, policy, &staged);
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
  return remove_shared(key) || removed;
}

/// True: the server had it.
bool Cache::remove_shared(const Key& key) const {
  if (!state_->fleet->shares(key)) return false;
  const auto root = ensure_root();
  const auto* shared = root ? state_->fleet->find(key) : nullptr;
  if (shared != nullptr) return shared->remove(key);
  // Why was told when it was found out. The same text for all keys.
  Error what{Errc::config, 0, "what is deleted may stay on the server, which cannot be used",
             "delete it again when that is mended"};
  if (!root) what = Error(root.error()).within("what is deleted may stay on the server");
  warn(what);
  return false;
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
        if (key) remove_shared(*key);
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
  if (root) {
    return refresh::Computer(**root, clock(), tell, state_->fleet->finder(key))
        .compute(key, policy, make);
  }
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

}  // namespace cachectl
