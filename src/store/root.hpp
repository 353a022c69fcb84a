// Root: the directory that is the cache, opened and found safe.
//
//   ROOT/                0700, or 2770 when shared
//     CACHEDIR.TAG       so that backups skip it (bford.info/cachedir)
//     format             one line, "cachectl 1"; written last: a root with it is complete
//     cache.lock         the lock table (lock/lock_table.hpp); never unlinked
//     changes            what has changed, for who keeps values in memory (change_table.hpp)
//     daemon.lock        held by the daemon (src/daemon/instance.hpp)
//     entries/3f/a94c…   records, named after the XXH3-128 of the key
//     attempts/3fa94c…   outcomes that were not stored, for those who waited for them
//     leases/ID          what is known of a lease (src/lease/); made by the first one
//     tmp/               staged files, each locked by its creator
//
// Refused: a root that is a symbolic link, belongs to another user, is writable for
// everybody (or for the group, unless shared), or is a directory of something else.
// Nothing outside it is written and no link below it is followed (lock/directory.hpp).
//
// Thread-safe: const after construction, and observe.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lock/directory.hpp"
#include "lock/lock_table.hpp"
#include "lock/staged_file.hpp"
#include "src/key.hpp"
#include "src/telemetry/observer.hpp"

namespace cachectl::store {

enum class Sharing {
  owner_only,  ///< files 0600, directories 0700
  group,       ///< files 0660, directories 2770: the group may read and write
};

class Root {
 public:
  /// nullopt: there is no such directory, or an empty one.
  [[nodiscard]] static Result<std::optional<Root>> open(const std::string& path, Sharing sharing,
                                                        lock::OuterLocks outer = {});

  /// Makes it where it is missing, parents included.
  [[nodiscard]] static Result<Root> open_or_create(const std::string& path, Sharing sharing,
                                                   lock::OuterLocks outer = {});

  [[nodiscard]] const lock::Directory& directory() const { return *directory_; }
  [[nodiscard]] const lock::LockTable& locks() const { return locks_; }
  [[nodiscard]] const std::string& path() const { return directory_->path(); }

  [[nodiscard]] mode_t file_mode() const { return sharing_ == Sharing::group ? 0660 : 0600; }
  [[nodiscard]] mode_t directory_mode() const { return sharing_ == Sharing::group ? 02770 : 0700; }

  /// Whom to tell of what happens from now on; they outlive it. Null: nobody.
  void observe(const telemetry::Observers* observers);
  [[nodiscard]] const telemetry::Observers* observers() const { return observers_; }
  void tell(const telemetry::Happening& what) const { telemetry::tell(observers_, what); }
  /// To be called once a fork has closed its descriptors; see Observer.
  void tell_left_caller() const;

  /// A directory of the layout for writing, made when it is missing and found safe.
  [[nodiscard]] Result<lock::Directory> writable(const std::string& name) const;

  static constexpr const char* kEntries = "entries";
  static constexpr const char* kAttempts = "attempts";
  static constexpr const char* kLeases = "leases";
  static constexpr const char* kStaging = "tmp";
  static constexpr const char* kTrees = "trees";
  static constexpr const char* kLinks = "links";
  static constexpr const char* kLockFile = "cache.lock";

 private:
  Root(std::unique_ptr<lock::Directory> directory, Sharing sharing, lock::OuterLocks outer);
  static Result<std::optional<Root>> adopt(lock::Directory directory, Sharing sharing,
                                           lock::OuterLocks outer);
  Result<void> initialize() const;
  Result<void> change_mode(mode_t mode) const;
  /// A root carries the sticky bit from its making until it is known to be durable. Who
  /// writes into one that has it, because its maker is at it or died, makes it durable
  /// first: or a value could be, and the cache that it lies in not.
  Result<void> settle() const;

  std::unique_ptr<lock::Directory> directory_;  // its address stays, as locks_ keeps it
  Sharing sharing_;
  lock::LockTable locks_;
  const telemetry::Observers* observers_ = nullptr;
};

/// "entries/3f/a94c…" for a hash; the parts of it.
struct EntryName {
  std::string directory;  ///< "entries/3f"
  std::string file;       ///< "a94c…"
  [[nodiscard]] std::string path() const { return directory + "/" + file; }
};
[[nodiscard]] EntryName entry_name(const KeyHash& hash);

}  // namespace cachectl::store
