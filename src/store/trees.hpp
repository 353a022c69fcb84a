// Trees: values that are files or directories.
//
//   trees/3fa94c…/1763737959123/value     the file or directory, never written to again
//   trees/3fa94c…/1763737959123/manifest  what it consists of (tree/manifest.hpp)
//   links/prices -> ../trees/3fa94c…/1763737959123/value
//   tmp/812-7f3a…                         an empty file, locked by the maker of
//   tmp/812-7f3a….d/                      value and manifest while they are made or removed
//
// The record says which generation is the value; its rename is the commit:
//
//   staged --seal: scan, manifest, sync--> sealed --place: rename--> in trees/, nobody looks
//     --publish the record--> the value --published anew--> superseded --prune--> gone
//
// Superseded generations stay for their readers: the newest few and those superseded a
// short while ago (Retention), and any with a pin, a shared lock on its manifest. All of
// that is done under the lock of the key; readers take a pin without it.
//
// The modification time of a generation's directory says since when it is superseded.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lock/staged_file.hpp"
#include "src/store/record_writer.hpp"
#include "src/tree/copy.hpp"
#include "src/tree/manifest.hpp"
#include "src/tree/scan.hpp"

namespace cachectl::store {

/// Which superseded generations stay.
struct Retention {
  std::uint64_t count = 2;  ///< the newest, that of the record included
  std::chrono::nanoseconds period = std::chrono::minutes(10);  ///< since they were superseded
};

/// A generation that a reader has found, and pinned: it stays while this lives, or while
/// a child lives that keeps the descriptor.
class Tree {
 public:
  [[nodiscard]] Generation generation() const { return generation_; }
  /// Absolute, of the file or directory.
  [[nodiscard]] std::string path() const { return directory_.path_of("value"); }
  /// Holds "value" and "manifest".
  [[nodiscard]] const lock::Directory& directory() const { return directory_; }
  /// Carries the pin.
  [[nodiscard]] int descriptor() const { return pin_.descriptor(); }
  [[nodiscard]] Result<tree::Manifest> manifest() const;

 private:
  friend Result<std::optional<Tree>> pin_tree(const Root&, const KeyHash&, Generation);
  Tree(Generation generation, lock::Directory directory, lock::FileLock pin)
      : generation_(generation), directory_(std::move(directory)), pin_(std::move(pin)) {}
  Generation generation_;
  lock::Directory directory_;
  lock::FileLock pin_;
};

/// nullopt: there is no such generation, or no longer.
[[nodiscard]] Result<std::optional<Tree>> pin_tree(const Root& root, const KeyHash& hash,
                                                   Generation generation);

/// A tree on its way to be published, or to be removed. Rolled back unless it was placed.
class StagedTree {
 public:
  /// `root` must outlive it.
  [[nodiscard]] static Result<StagedTree> create(const Root& root);
  StagedTree(StagedTree&&) noexcept = default;
  StagedTree& operator=(StagedTree&&) = delete;
  ~StagedTree();

  /// Where the file or directory is to be made. Absolute; nothing is there yet.
  [[nodiscard]] std::string value_path() const { return directory_->path_of(kValue); }
  /// In which "value" is to be made.
  [[nodiscard]] const lock::Directory& directory() const { return *directory_; }
  /// Says to a clean-up that it is alive; for children that go on writing after our death.
  [[nodiscard]] int descriptor() const { return lock_.descriptor(); }

  /// Writes the manifest, and makes all durable. Errc::io: nothing was made;
  /// Errc::refused: a symbolic link; other errors as of tree::scan. With a manifest that is known
  /// already (with checksums) nothing is read again.
  [[nodiscard]] Result<void> seal(lock::Durability durability);
  [[nodiscard]] Result<void> seal(const tree::Manifest& manifest, lock::Durability durability);

  static constexpr const char* kValue = "value";
  static constexpr const char* kManifest = "manifest";

 private:
  friend Result<void> publish(const Root&, const Key&, StagedTree*, RecordWriter&, RecordHeader,
                              Generation, const Retention&, lock::Durability);
  friend class Pruner;
  StagedTree(const Root& root, std::unique_ptr<lock::Directory> staging, lock::StagedFile lock)
      : root_(&root), staging_(std::move(staging)), lock_(std::move(lock)) {}
  [[nodiscard]] std::string name() const;
  [[nodiscard]] Result<void> place(const KeyHash& hash, Generation generation,
                                   lock::Durability durability);

  const Root* root_;
  std::unique_ptr<lock::Directory> staging_;  // before lock_, which refers to it
  lock::StagedFile lock_;
  std::unique_ptr<lock::Directory> directory_;  // null: placed, or not made yet
  std::uint64_t bytes_ = 0;                     // once sealed
  bool placed_ = false;
};

/// Publishes the record that `writer` holds and, unless it is null, the sealed tree with it
/// as generation header.generation. A tree that this supersedes, `last`, is marked, the link
/// follows, and what nobody needs is pruned. Under the lock of the key.
[[nodiscard]] Result<void> publish(const Root& root, const Key& key, StagedTree* tree,
                                   RecordWriter& writer, RecordHeader header, Generation last,
                                   const Retention& retention, lock::Durability durability);

/// What pruning did.
struct Pruned {
  std::uint64_t generations = 0;
  std::uint64_t bytes = 0;
  std::uint64_t kept_bytes = 0;  ///< of the generations that stay
  std::uint64_t busy = 0;        ///< would have gone, but are pinned
};

struct PruneOptions {
  bool dry_run = false;
  bool count_bytes = false;  ///< reads the manifest of each generation
};

/// Removes the generations of a key that nobody needs any more; `current` is that of its
/// record, if there is one. Under the lock of the key, unless `dry_run`.
[[nodiscard]] Result<Pruned> prune_trees(const Root& root, const KeyHash& hash,
                                         std::optional<Generation> current,
                                         const Retention& retention, WallTime now,
                                         PruneOptions options);

/// To be called when a record goes: its generation is superseded from now on, and the link
/// is removed. Nothing happens where there is none.
[[nodiscard]] Result<void> supersede_tree(const Root& root, const KeyHash& hash,
                                          std::string_view key, Generation generation);

/// "trees/3fa94c…/1763737959123/value", below the root.
[[nodiscard]] std::string tree_path(const KeyHash& hash, Generation generation);

/// The name of a key's link in links/; nullopt: it would be too long. Bytes other than
/// letters, digits and "._@+:=,-" are written as %XX, and so is a leading dot.
[[nodiscard]] std::optional<std::string> link_name(std::string_view key);

/// "NAME" of "NAME.d"; nullopt: it has not the name of a staged tree.
[[nodiscard]] std::optional<std::string> staged_tree_lock(std::string_view name);

/// Bytes of the files in tmp/NAME.d; 0: there is none, or it cannot be read.
[[nodiscard]] std::uint64_t staged_tree_size(const lock::Directory& staging,
                                             const std::string& lock_name);

/// Removes tmp/NAME.d of which tmp/NAME, locked by the caller or not there, is the lock.
[[nodiscard]] Result<void> remove_staged_tree(const lock::Directory& staging,
                                              const std::string& lock_name);

}  // namespace cachectl::store
