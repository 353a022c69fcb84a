#include "src/store/trees.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lock/number.hpp"
#include "lock/retry.hpp"
#include "src/store/scan.hpp"
#include "src/store/store.hpp"
#include "src/tree/remove.hpp"
#include "src/tree/snapshot.hpp"
#include "src/tree/sync.hpp"

namespace cachectl::store {

namespace {

using lock::Directory;

constexpr lock::Range kWhole{0, 0};

/// Of the directory whose lock has the name without it.
constexpr std::string_view kSuffix = ".d";

/// "trees/3fa94c…" of a key.
std::string place_of(const KeyHash& hash) { return std::string(Root::kTrees) + "/" + hash.hex(); }

std::optional<Generation> parse_generation(std::string_view name) {
  Generation generation = 0;
  if (!parse_number(name, generation) || name.starts_with('0')) return std::nullopt;
  return generation;
}

Result<void> rename(const Directory& from, const std::string& name, const Directory& to,
                    const std::string& new_name) {
  if (lock::retry([&] {
        return ::renameat(from.descriptor(), name.c_str(), to.descriptor(), new_name.c_str());
      }) == 0) {
    return {};
  }
  return fail(system_error("rename " + from.path_of(name) + " to " + to.path_of(new_name)));
}

Result<tree::Manifest> read_manifest(const Directory& generation) {
  const auto path = generation.path_of(StagedTree::kManifest);
  CACHECTL_ASSIGN(const auto text, generation.read_if_exists(StagedTree::kManifest));
  if (!text) return fail(system_error("open " + path, ENOENT));
  return tree::decode_manifest(*text, path);
}

}  // namespace

Result<tree::Manifest> Tree::manifest() const { return read_manifest(directory_); }

std::string tree_path(const KeyHash& hash, Generation generation) {
  return place_of(hash) + "/" + std::to_string(generation) + "/" + StagedTree::kValue;
}

Result<std::optional<Tree>> pin_tree(const Root& root, const KeyHash& hash, Generation generation) {
  const auto place = place_of(hash) + "/" + std::to_string(generation);
  CACHECTL_ASSIGN(auto directory, root.directory().find_below(place));
  if (!directory) return std::optional<Tree>();
  CACHECTL_ASSIGN(auto file,
                  directory->open_if_exists(StagedTree::kManifest, O_RDONLY | O_NONBLOCK));
  if (!file) return std::optional<Tree>();
  lock::FileLock pin(std::move(*file), directory->path_of(StagedTree::kManifest));
  CACHECTL_ASSIGN(const bool pinned,
                  pin.lock(kWhole, lock::Mode::shared, lock::Deadline::immediately()));
  if (!pinned) return std::optional<Tree>();  // about to be removed
  // It may have been removed before the pin; its name in trees/ goes first.
  CACHECTL_ASSIGN(const struct stat ours, lock::status_of(directory->descriptor(), place));
  CACHECTL_ASSIGN(const auto named, root.directory().status(place));
  if (!named || named->st_ino != ours.st_ino) return std::optional<Tree>();
  // Somebody may have removed by hand what it is all about.
  CACHECTL_ASSIGN(const auto value, directory->status(StagedTree::kValue));
  if (!value) return std::optional<Tree>();
  return std::optional(Tree(generation, std::move(*directory), std::move(pin)));
}

Result<StagedTree> StagedTree::create(const Root& root) {
  CACHECTL_ASSIGN(auto opened, root.writable(Root::kStaging));
  auto staging = std::make_unique<Directory>(std::move(opened));
  CACHECTL_ASSIGN(auto lock, lock::StagedFile::create(*staging, root.file_mode()));
  StagedTree tree(root, std::move(staging), std::move(lock));
  CACHECTL_ASSIGN(auto directory,
                  tree.staging_->ensure_below(tree.name(), root.directory_mode(), false));
  tree.directory_ = std::make_unique<Directory>(std::move(directory));
  return tree;
}

std::string StagedTree::name() const { return lock_.name() + std::string(kSuffix); }

StagedTree::~StagedTree() {
  if (lock_.name().empty() || placed_) return;  // moved from, or at its place
  directory_.reset();
  // A failure leaves it to the next clean-up.
  [[maybe_unused]] const auto removed = tree::remove_tree(*staging_, name());
}

Result<void> StagedTree::seal(lock::Durability durability) {
  CACHECTL_ASSIGN(const auto made, directory_->status(kValue));
  if (!made) {
    return fail(Errc::io, "nothing was made at " + value_path(),
                "the source must make the file or directory that $CACHECTL_OUTPUT names");
  }
  if (S_ISLNK(made->st_mode)) {
    return fail(Errc::refused,
                value_path() + ": is a symbolic link; a value is a file or a directory");
  }
  CACHECTL_ASSIGN(const auto found, tree::scan(*directory_, kValue));
  return seal(found.manifest, durability);
}

Result<void> StagedTree::seal(const tree::Manifest& manifest, lock::Durability durability) {
  bytes_ = manifest.bytes();
  const auto path = directory_->path_of(kManifest);
  CACHECTL_ASSIGN(const auto file, directory_->open_file(kManifest, O_WRONLY | O_CREAT | O_EXCL,
                                                         root_->file_mode()));
  if (lock::retry([&] { return ::fchmod(file.get(), root_->file_mode()); }) != 0) {
    return fail(system_error("chmod " + path));
  }
  CACHECTL_TRY(lock::write_all(file.get(), lock::bytes_of(tree::encode(manifest)), path));
  if (durability == lock::Durability::none) return {};
  CACHECTL_TRY(lock::sync(file.get(), path));
  CACHECTL_TRY(tree::sync_tree(*directory_, kValue, manifest));
  return directory_->sync();
}

Result<void> StagedTree::place(const KeyHash& hash, Generation generation,
                               lock::Durability durability) {
  CACHECTL_ASSIGN(const Directory target, root_->writable(place_of(hash)));
  const auto place = std::to_string(generation);
  auto renamed = rename(*staging_, name(), target, place);
  if (!renamed &&
      (renamed.error().system_error == ENOTEMPTY || renamed.error().system_error == EEXIST)) {
    // Left by one who died before his record: numbers are not used twice otherwise.
    CACHECTL_ASSIGN(const auto away, create(*root_));
    CACHECTL_TRY(rename(target, place, *away.staging_, away.name()));
    renamed = rename(*staging_, name(), target, place);
  }
  CACHECTL_TRY(renamed);
  placed_ = true;
  directory_.reset();
  if (durability == lock::Durability::full) CACHECTL_TRY(target.sync());
  return {};
}

std::optional<std::string> link_name(std::string_view key) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@+:=,-";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string name;
  for (const char byte : key) {
    if (kPlain.find(byte) != std::string_view::npos && !(byte == '.' && name.empty())) {
      name += byte;
      continue;
    }
    const auto value = static_cast<unsigned char>(byte);
    name += '%';
    name += kDigits[value / 16];
    name += kDigits[value % 16];
  }
  constexpr std::size_t kLongestName = 255;
  if (name.size() > kLongestName) return std::nullopt;
  return name;
}

namespace {

/// Points links/NAME at a generation, in one step.
Result<void> make_link(const Root& root, const KeyHash& hash, std::string_view key,
                       Generation generation, lock::Durability durability) {
  const auto name = link_name(key);
  if (!name) return {};
  CACHECTL_ASSIGN(const Directory links, root.writable(Root::kLinks));
  const auto target = "../" + tree_path(hash, generation);
  // Under the lock of the key nobody else makes this one; what is there is of a dead process.
  const auto fresh = "." + hash.hex();
  CACHECTL_ASSIGN([[maybe_unused]] const bool stale, links.unlink(fresh));
  if (lock::retry([&] { return ::symlinkat(target.c_str(), links.descriptor(), fresh.c_str()); }) !=
      0) {
    return fail(system_error("link " + links.path_of(fresh)));
  }
  CACHECTL_TRY(rename(links, fresh, links, *name));
  return durability == lock::Durability::full ? links.sync() : Result<void>();
}

Result<void> remove_link(const Root& root, std::string_view key) {
  const auto name = link_name(key);
  if (!name) return {};
  CACHECTL_ASSIGN(const auto links, root.directory().find_below(Root::kLinks));
  if (!links) return {};
  CACHECTL_ASSIGN(const auto status, links->status(*name));
  if (!status || !S_ISLNK(status->st_mode)) return {};
  CACHECTL_TRY(links->unlink(*name));
  return {};
}

/// From now on it is superseded.
Result<void> mark_superseded(const Directory& key_directory, Generation generation) {
  const auto name = std::to_string(generation);
  if (lock::retry([&] {
        return ::utimensat(key_directory.descriptor(), name.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
      }) == 0 ||
      errno == ENOENT || errno == EPERM || errno == EACCES) {
    return {};
  }
  return fail(system_error("set the time of " + key_directory.path_of(name)));
}

}  // namespace

Result<void> publish(const Root& root, const Key& key, StagedTree* tree, RecordWriter& writer,
                     RecordHeader header, Generation last, const Retention& retention,
                     lock::Durability durability) {
  if (tree != nullptr) {
    CACHECTL_TRY(tree->place(key.hash(), header.generation, durability));
    header.kind = Kind::tree;
    header.tree_generation = header.generation;
    header.tree_size = tree->bytes_;
  }
  CACHECTL_TRY(writer.publish(header, Place::entry, durability));
  if (header.kind == Kind::tree) {
    CACHECTL_TRY(make_link(root, key.hash(), key.bytes(), header.tree_generation, durability));
  }
  const auto size = header.kind == Kind::tree ? header.tree_size : writer.output_size();
  root.tell({telemetry::What::published,
             key.bytes(),
             header.source_duration,
             {},
             size,
             header.generation,
             header.exit_status});
  if (last == 0 || last == header.tree_generation) return {};
  if (header.kind == Kind::tree) {
    CACHECTL_ASSIGN(const auto directory, root.directory().find_below(place_of(key.hash())));
    if (directory) CACHECTL_TRY(mark_superseded(*directory, last));
  } else {
    CACHECTL_TRY(supersede_tree(root, key.hash(), key.bytes(), last));
  }
  // The value is published; what could not be cleaned is left to a clean-up.
  const auto current =
      header.kind == Kind::tree ? std::optional(header.tree_generation) : std::nullopt;
  [[maybe_unused]] const auto pruned =
      prune_trees(root, key.hash(), current, retention, header.created, {});
  return {};
}

Result<void> supersede_tree(const Root& root, const KeyHash& hash, std::string_view key,
                            Generation generation) {
  CACHECTL_TRY(remove_link(root, key));
  CACHECTL_ASSIGN(const auto directory, root.directory().find_below(place_of(hash)));
  return directory ? mark_superseded(*directory, generation) : Result<void>();
}

/// Removes generations of one key.
class Pruner {
 public:
  Pruner(const Root& root, const Directory& directory, bool dry_run)
      : root_(root), directory_(directory), dry_run_(dry_run) {}

  Result<void> remove(Generation generation, std::uint64_t bytes) {
    const auto name = std::to_string(generation);
    CACHECTL_ASSIGN(const bool free, is_free(name));
    if (!free) {
      ++result_.busy;
      result_.kept_bytes += bytes;
      return {};
    }
    if (!dry_run_) {
      CACHECTL_ASSIGN(auto away, StagedTree::create(root_));
      // rename(2) replaces an empty directory; readers find it gone in one step.
      CACHECTL_TRY(rename(directory_, name, *away.staging_, away.name()));
    }
    ++result_.generations;
    result_.bytes += bytes;
    return {};
  }

  void keep(std::uint64_t bytes) { result_.kept_bytes += bytes; }
  [[nodiscard]] const Pruned& result() const { return result_; }

 private:
  /// Nobody has pinned it. The answer holds: a pin looks for the name after it was taken.
  Result<bool> is_free(const std::string& name) {
    auto generation = directory_.open_below(name);
    if (!generation) return fail(std::move(generation).error());
    CACHECTL_ASSIGN(auto file,
                    generation->open_if_exists(StagedTree::kManifest,
                                               (dry_run_ ? O_RDONLY : O_RDWR) | O_NONBLOCK));
    if (!file) return true;  // not one of ours, or half of one
    pin_.emplace(std::move(*file), generation->path_of(StagedTree::kManifest));
    return pin_->lock(kWhole, dry_run_ ? lock::Mode::shared : lock::Mode::exclusive,
                      lock::Deadline::immediately());
  }

  const Root& root_;
  const Directory& directory_;
  bool dry_run_;
  std::optional<lock::FileLock> pin_;  // held over the rename
  Pruned result_;
};

Result<Pruned> prune_trees(const Root& root, const KeyHash& hash, std::optional<Generation> current,
                           const Retention& retention, WallTime now, PruneOptions options) {
  CACHECTL_ASSIGN(const auto directory, root.directory().find_below(place_of(hash)));
  if (!directory) return Pruned{};
  std::vector<Generation> generations;
  CACHECTL_TRY(each_name(*directory, [&](const Directory&, const std::string& name) {
    if (const auto generation = parse_generation(name)) generations.push_back(*generation);
    return Result<bool>(true);
  }));
  std::sort(generations.begin(), generations.end(), std::greater<>());
  Pruner pruner(root, *directory, options.dry_run);
  std::uint64_t kept = 0;
  for (const auto generation : generations) {
    const auto name = std::to_string(generation);
    CACHECTL_ASSIGN(const auto status, directory->status(name));
    if (!status || !S_ISDIR(status->st_mode)) continue;
    std::uint64_t bytes = 0;
    if (options.count_bytes) {
      CACHECTL_ASSIGN(const Directory at, directory->open_below(name));
      if (const auto manifest = read_manifest(at)) bytes = manifest->bytes();
    }
    const bool is_current = current && generation == *current;
    // One that is newer than the record was never published.
    const bool unpublished = current && generation > *current;
    const bool counts = current.has_value() && !unpublished && kept < retention.count;
    const bool recent = !unpublished && now < later(wall_time(status->st_mtim), retention.period);
    if (is_current || counts || recent) {
      ++kept;
      pruner.keep(bytes);
      continue;
    }
    CACHECTL_TRY(pruner.remove(generation, bytes));
  }
  return pruner.result();
}

std::optional<std::string> staged_tree_lock(std::string_view name) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  return std::string(name.substr(0, name.size() - kSuffix.size()));
}

std::uint64_t staged_tree_size(const Directory& staging, const std::string& lock_name) {
  const auto listed = tree::list_tree(staging, lock_name + std::string(kSuffix));
  return listed ? listed->manifest.bytes() : 0;
}

Result<void> remove_staged_tree(const Directory& staging, const std::string& lock_name) {
  CACHECTL_TRY(tree::remove_tree(staging, lock_name + std::string(kSuffix)));
  return {};
}

}  // namespace cachectl::store
