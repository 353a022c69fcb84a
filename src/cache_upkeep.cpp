#include "src/cache_state.hpp"
#include "src/store/scan.hpp"
#include "src/telemetry/counter_file.hpp"

namespace cachectl {

using telemetry::What;

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

Result<bool> Cache::take_back(const std::string& path, std::string_view lease,
                              const std::function<Result<void>()>& before) const {
  CACHECTL_ASSIGN(const store::Root* root, ensure_root());
  return pool::Pool::take_back(*root, path, lease, before);
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
