#include "src/store/gc.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <unordered_map>

#include "src/store/age_histogram.hpp"
#include "src/store/scan.hpp"
#include "src/store/store.hpp"

namespace cachectl::store {

namespace {

/// Outcomes for waiters are read within moments; a waiter that was stopped for longer
/// becomes a leader, no harm done.
constexpr std::chrono::minutes kAttemptsStay{1};
constexpr std::size_t kProblemsKept = 20;

class Collector {
 public:
  Collector(const Root& root, const Clock& clock, const GcPolicy& policy)
      : root_(root), policy_(policy), now_(clock.now()) {}

  Result<GcReport> run() {
    each(Root::kStaging,
         [this](const auto& directory, const auto& name) { staged(directory, name); });
    each(Root::kAttempts,
         [this](const auto& directory, const auto& name) { attempt(directory, name); });
    each(Root::kLeases,
         [this](const auto& directory, const auto& name) { lease(directory, name); });
    each(Root::kTrees, [this](const auto&, const auto& name) { trees(name); });
    AgeHistogram ages(now_);
    CACHECTL_TRY(over_entries([&](const auto& directory, const auto& name, const auto& status) {
      entry(directory, name, status, ages);
    }));
    const auto cut = ages.cut(policy_.max_entries, policy_.max_size);
    if (cut) {
      excess_ = *cut;
      CACHECTL_TRY(over_entries([&](const auto& directory, const auto& name, const auto& status) {
        evict(directory, name, status, ages);
      }));
    }
    return std::move(report_);
  }

 private:
  using Directory = lock::Directory;

  bool in_time() {
    if (policy_.deadline.passed()) report_.complete = false;
    return report_.complete;
  }

  void problem(Error error) {
    // What is the same for all, such as a read-only file system, is told once.
    const auto& known = report_.problems;
    if (!known.empty() && known.back().describe() == error.describe()) return;
    if (known.size() < kProblemsKept) report_.problems.push_back(std::move(error));
  }

  template <typename Each>
  void each(const char* where, Each each) {
    auto directory = root_.directory().open_below(where);
    if (!directory) {
      if (directory.error().system_error != ENOENT) problem(std::move(directory).error());
      return;
    }
    auto walked = each_name(*directory, [&](const Directory& in, const std::string& name) {
      each(in, name);
      return Result<bool>(in_time());
    });
    if (!walked) problem(std::move(walked).error());
  }

  /// With the status of each name that a record can have.
  template <typename Each>
  Result<void> over_entries(Each each) {
    const auto start = static_cast<unsigned>(now_.time_since_epoch() / std::chrono::seconds(1));
    const auto visit = [&](const Directory& in, const std::string& name) -> Result<bool> {
      struct stat status {};
      if (::fstatat(in.descriptor(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISREG(status.st_mode)) {
        each(in, name, status);
      }
      return in_time();
    };
    auto walked = each_entry(root_, start, visit);
    if (!walked) return fail(std::move(walked).error());
    return {};
  }

  void staged(const Directory& directory, const std::string& name) {
    const auto status = directory.status(name);
    if (status && *status && S_ISDIR((*status)->st_mode)) return staged_tree(directory, name);
    if (status && *status && !S_ISREG((*status)->st_mode)) return;  // none of ours
    const bool dry_run = policy_.dry_run == DryRun::yes;
    std::uint64_t of_tree = 0;
    auto fate = lock::remove_if_abandoned(directory, name, dry_run, [&] {
      of_tree = staged_tree_size(directory, name);
      return remove_staged_tree(directory, name);
    });
    if (!fate) return problem(std::move(fate).error());
    if (*fate == lock::StagedFate::alive) ++report_.busy;
    if (*fate == lock::StagedFate::removed && status && *status) {
      if (dry_run) of_tree = staged_tree_size(directory, name);
      report_.staging.add(static_cast<std::uint64_t>((*status)->st_size) + of_tree);
    }
  }

  /// A directory goes with its lock. The lock is made before it and removed after it, so
  /// that one without a lock is left by a removal that failed.
  void staged_tree(const Directory& directory, const std::string& name) {
    const auto lock = staged_tree_lock(name);
    if (!lock) return;
    const auto locked = directory.status(*lock);
    if (!locked || *locked) return;
    const auto size = staged_tree_size(directory, *lock);
    if (policy_.dry_run == DryRun::no) {
      if (auto removed = remove_staged_tree(directory, *lock); !removed) {
        return problem(std::move(removed).error());
      }
    }
    report_.staging.add(size);
  }

  /// The generations of one key.
  void trees(const std::string& name) {
    KeyHash hash;
    if (!KeyHash::parse(name, hash)) return;
    std::optional<lock::HeldLock> held;
    if (!lock_key(hash, held)) return;
    const auto lookup =
        open_record(root_.directory(), entry_name(hash).path(), nullptr, Want::header);
    if (!lookup) return problem(lookup.error());
    std::optional<Generation> current;
    if (lookup->entry && lookup->entry->header().kind == Kind::tree) {
      current = lookup->entry->header().tree_generation;
    }
    const auto pruned = prune_trees(root_, hash, current, policy_.retention, now_,
                                    {policy_.dry_run == DryRun::yes, true});
    if (!pruned) return problem(pruned.error());
    report_.trees.files += pruned->generations;
    report_.trees.bytes += pruned->bytes;
    report_.busy += pruned->busy;
    tree_bytes_[hash.hex()] = pruned->kept_bytes;
  }

  /// What an entry takes with its trees.
  [[nodiscard]] std::uint64_t size_of(const Directory& directory, const std::string& name,
                                      const struct stat& status) const {
    const auto size = static_cast<std::uint64_t>(status.st_size);
    KeyHash hash;
    if (tree_bytes_.empty() || !hash_of_entry(directory, name, hash)) return size;
    const auto tree = tree_bytes_.find(hash.hex());
    return tree == tree_bytes_.end() ? size : size + tree->second;
  }

  /// A lease file is locked while its lease lives, from before it has its name; its holder's
  /// socket has come after it and goes before it.
  void lease(const Directory& directory, const std::string& name) {
    constexpr std::string_view kSocket = ".socket";
    const auto status = directory.status(name);
    if (!status || !*status) return;
    if (S_ISREG((*status)->st_mode)) {
      if (policy_.keeps_lease && policy_.keeps_lease(name)) return;
      auto fate = lock::remove_if_abandoned(directory, name, policy_.dry_run == DryRun::yes);
      if (!fate) return problem(std::move(fate).error());
      if (*fate != lock::StagedFate::removed) return;
      report_.leases.add(static_cast<std::uint64_t>((*status)->st_size));
    } else if (S_ISSOCK((*status)->st_mode) && name.ends_with(kSocket)) {
      const auto file = name.substr(0, name.size() - kSocket.size());
      // To know is enough here; the file itself is seen to under its own name.
      auto fate = lock::remove_if_abandoned(directory, file, true);
      if (!fate) return problem(std::move(fate).error());
      if (*fate != lock::StagedFate::alive) remove_file(directory, name, 0, report_.leases);
    }
  }

  void attempt(const Directory& directory, const std::string& name) {
    const auto status = directory.status(name);
    KeyHash hash;
    if (!status || !*status || !KeyHash::parse(name, hash)) return;
    if (now_ < later(wall_time((*status)->st_mtim), kAttemptsStay)) return;
    std::optional<lock::HeldLock> held;
    if (lock_key(hash, held))
      remove_file(directory, name, static_cast<std::uint64_t>((*status)->st_size),
                  report_.attempts);
  }

  void entry(const Directory& directory, const std::string& name, const struct stat& status,
             AgeHistogram& ages) {
    const auto size = size_of(directory, name, status);
    if (wall_time(status.st_mtim) <= now_ && remove_if_spent(directory, name)) return;
    report_.kept.add(size);
    ages.add(wall_time(status.st_atim), size);
  }

  [[nodiscard]] bool useless(const Lookup& lookup) const {
    return lookup.defect || (lookup.entry && is_spent(lookup.entry->header(), now_));
  }

  /// Looks again under the key's lock: since the status was taken, somebody may have
  /// published a fresh one under this name.
  bool remove_if_spent(const Directory& directory, const std::string& name) {
    KeyHash hash;
    if (!hash_of_entry(directory, name, hash)) return false;
    std::optional<lock::HeldLock> held;
    if (!lock_key(hash, held)) return false;
    auto lookup = open_record(directory, name, nullptr, Want::header);
    if (!lookup) {
      problem(std::move(lookup).error());
      return false;
    }
    const auto status = directory.status(name);
    if (!status || !*status) return false;
    const auto size = static_cast<std::uint64_t>((*status)->st_size);
    if (!useless(*lookup)) return false;
    if (!remove_file(directory, name, size, lookup->defect ? report_.damaged : report_.expired)) {
      return false;
    }
    tell(telemetry::What::expired, *lookup, size);
    forget_tree(*lookup);
    return true;
  }

  void evict(const Directory& directory, const std::string& name, const struct stat& status,
             const AgeHistogram& ages) {
    const int order = ages.compare(wall_time(status.st_atim), excess_);
    const bool more_of_class = excess_.files > 0 || excess_.bytes > 0;
    if (order < 0 || (order == 0 && !more_of_class)) return;
    KeyHash hash;
    if (!hash_of_entry(directory, name, hash)) return;
    std::optional<lock::HeldLock> held;
    if (!lock_key(hash, held)) return;
    // Used or replaced since we looked: no longer the least recently used. Asked
    // before the record is opened, which may count as use itself.
    const auto again = directory.status(name);
    if (!again || !*again || (*again)->st_ino != status.st_ino ||
        wall_time((*again)->st_atim) > now_) {
      return;
    }
    const auto lookup = open_record(directory, name, nullptr, Want::header);
    if (!lookup) return problem(lookup.error());  // not ours to judge: a later version's
    // Counted already, and still there only because it was busy or this is a dry run.
    if (wall_time(status.st_mtim) <= now_ && useless(*lookup)) return;
    const auto size = size_of(directory, name, status);
    if (!remove_file(directory, name, size, report_.evicted)) return;
    tell(telemetry::What::evicted, *lookup, size);
    forget_tree(*lookup);
    --report_.kept.files;
    report_.kept.bytes -= size;
    if (order > 0) return;
    excess_.files -= std::min<std::uint64_t>(excess_.files, 1);
    excess_.bytes -= std::min(excess_.bytes, size);
  }

  void tell(telemetry::What what, const Lookup& lookup, std::uint64_t size) const {
    if (policy_.dry_run == DryRun::yes) return;
    const auto key = lookup.entry ? lookup.entry->key() : std::string_view();
    root_.tell({what, key, {}, {}, size});
  }

  /// The tree of a record that was removed goes with the next clean-up after its retention.
  void forget_tree(const Lookup& lookup) {
    if (policy_.dry_run == DryRun::yes || !lookup.entry) return;
    const auto& header = lookup.entry->header();
    if (header.kind != Kind::tree) return;
    auto done = supersede_tree(root_, KeyHash::of(lookup.entry->key()), lookup.entry->key(),
                               header.tree_generation);
    if (!done) problem(std::move(done).error());
  }

  /// Without it nothing is removed. A dry run removes nothing, so it needs none, and works
  /// on a cache that may only be read.
  bool lock_key(const KeyHash& hash, std::optional<lock::HeldLock>& held) {
    if (policy_.dry_run == DryRun::yes) return true;
    auto locked = root_.locks().acquire(slot_of(hash), lock::Mode::exclusive,
                                        lock::Deadline::immediately(), "cachectl gc");
    if (!locked) {
      problem(std::move(locked).error());
      return false;
    }
    if (!*locked) ++report_.busy;
    held = std::move(*locked);
    return held.has_value();
  }

  bool remove_file(const Directory& directory, const std::string& name, std::uint64_t size,
                   Tally& tally) {
    if (policy_.dry_run == DryRun::no) {
      const auto removed = directory.unlink(name);
      if (!removed) problem(removed.error());
      if (!removed || !*removed) return false;
    }
    tally.add(size);
    return true;
  }

  const Root& root_;
  const GcPolicy& policy_;
  WallTime now_;
  Excess excess_;
  GcReport report_;
  std::unordered_map<std::string, std::uint64_t> tree_bytes_;  // by hash, of what is kept
};

}  // namespace

Result<GcReport> collect(const Root& root, const Clock& clock, const GcPolicy& policy) {
  return Collector(root, clock, policy).run();
}

}  // namespace cachectl::store
