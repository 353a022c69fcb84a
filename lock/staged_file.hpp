// StagedFile: a file that appears under its name complete and durable, or not at all.
//
//   create --> staged --commit--> published
//                 `--destructor or failure--> rolled back (unlinked)
//
// Guarantees of commit with Durability::full: when it returns ok, the content and
// the name survive a power loss; before that, readers of the name see the old file.
// The calling sequence is write, fchmod, fsync of the file, rename, fsync of the
// directory. An fsync that fails is never repeated (the kernel has dropped the
// data): the file is rolled back and the old value stays.
//
// The staging directory must be on the file system of the target. While it lives,
// the file is locked by its creator: a clean-up that can lock it knows that the
// creator is dead, whatever the clock and the age of the file say.
//
// Thread rules: one StagedFile belongs to one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "lock/directory.hpp"
#include "lock/file_lock.hpp"

namespace cachectl::lock {

enum class Durability {
  full,  ///< synced: survives power loss
  none,  ///< not synced: a crash of the machine may lose or tear it; checksums tell
};

class StagedFile {
 public:
  /// A new file in `staging`, which must outlive it, with exactly `mode`.
  [[nodiscard]] static Result<StagedFile> create(const Directory& staging, mode_t mode);

  StagedFile(StagedFile&&) noexcept;
  StagedFile& operator=(StagedFile&&) = delete;
  ~StagedFile();

  /// Gives it `name` in `target`, replacing what was there. Errc::not_durable: it is
  /// published, but the directory could not be synced. Any other error: rolled back.
  [[nodiscard]] Result<void> commit(const Directory& target, const std::string& name,
                                    Durability durability);

  /// Gives it `name` in `target` where that is free; else leaves what is there, and is rolled
  /// back. Not synced. A file system without hard links: replaces what is there.
  [[nodiscard]] Result<void> commit_unless_there(const Directory& target, const std::string& name);

  /// Keeps the open file and gives up its name: it is gone when the last descriptor is.
  [[nodiscard]] Result<void> make_anonymous();

  [[nodiscard]] int descriptor() const { return file_.descriptor(); }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  /// In the staging directory; empty once it has none.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  StagedFile(const Directory& staging, std::string name, FileLock file);
  void roll_back();

  const Directory* staging_;
  std::string name_;  // empty: published, anonymous, or moved from
  FileLock file_;
};

/// What a clean-up did with a name in the staging directory.
enum class StagedFate { alive, removed, gone };

/// Removes `name` from `staging` if its creator is dead. With `dry_run` it only says
/// whether it would. `before`, if any, is called while the file is locked and still there:
/// for what its lock stands for.
[[nodiscard]] Result<StagedFate> remove_if_abandoned(
    const Directory& staging, const std::string& name, bool dry_run,
    const std::function<Result<void>()>& before = {});

}  // namespace cachectl::lock
