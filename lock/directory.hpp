// Directory: an open directory below which files are opened, and never beyond.
//
// O_NOFOLLOW guards only the last component of a path; a symbolic link planted in
// the middle still redirects a write. So every path is resolved by openat2(2) with
// RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, or, where a sandbox denies that call,
// component by component with O_NOFOLLOW.
//
// Thread-safe: const after construction.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>

#include "lock/fd.hpp"

namespace cachectl::lock {

class Directory {
 public:
  /// Opens `path`; its last component must not be a symbolic link.
  [[nodiscard]] static Result<Directory> open(const std::string& path);

  /// Opens a directory below this one.
  [[nodiscard]] Result<Directory> open_below(const std::string& name) const;

  /// As open_below, but no such directory is nullopt, not an error.
  [[nodiscard]] Result<std::optional<Directory>> find_below(const std::string& name) const;

  /// As open_below, but creates the directory with `mode` (whatever the umask
  /// says) when it is missing. With `durable`, a new one is synced into this one, also
  /// when another process made it and has not come to that, or never will.
  [[nodiscard]] Result<Directory> ensure_below(const std::string& name, mode_t mode,
                                               bool durable) const;

  /// open(2) below this directory, following no symbolic link. O_CLOEXEC,
  /// O_NOFOLLOW and O_NOCTTY are added.
  [[nodiscard]] Result<Fd> open_file(const std::string& name, int flags, mode_t mode = 0) const;

  /// open_file for reading and writing; one that is missing is made, with `mode` (whatever
  /// the umask says).
  [[nodiscard]] Result<Fd> open_or_create(const std::string& name, mode_t mode) const;

  /// As open_file, but no such file is nullopt, not an error.
  [[nodiscard]] Result<std::optional<Fd>> open_if_exists(const std::string& name, int flags) const;

  /// All of a file; nullopt when there is none.
  [[nodiscard]] Result<std::optional<std::string>> read_if_exists(const std::string& name) const;

  /// Status of an entry, not following a link; nullopt when there is none.
  [[nodiscard]] Result<std::optional<struct stat>> status(const std::string& name) const;

  /// Removes a file. True: it was there.
  [[nodiscard]] Result<bool> unlink(const std::string& name) const;

  /// fsync of the directory itself: makes renames and new names in it durable.
  [[nodiscard]] Result<void> sync() const;

  [[nodiscard]] int descriptor() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// For messages.
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

 private:
  Directory(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Fd fd_;
  std::string path_;
};

}  // namespace cachectl::lock
