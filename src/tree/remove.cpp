#include "src/tree/remove.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "lock/retry.hpp"
#include "src/key.hpp"
#include "src/tree/cursor.hpp"
#include "src/tree/listing.hpp"
#include "src/tree/remove_at.hpp"
#include "src/tree/subvolume.hpp"

namespace cachectl::tree {

namespace {

/// Levels below this are first moved up to the top of the tree. So the way back is always
/// open, any depth is fine, and nobody has to find a level again by its path.
constexpr std::size_t kLevels = 32;

/// A directory that is filled as fast as it is emptied is not ours to win against.
constexpr int kAttempts = 100;

/// Opens a directory for listing. Crossing a mount point is EXDEV.
int open_on_same_mount(int at, const char* name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  const long fd = lock::retry([&] { return ::syscall(SYS_openat2, at, name, &how, sizeof how); });
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EAGAIN)) {
    return static_cast<int>(fd);
  }
  // Old kernels and sandboxes have no openat2. Then the device has to tell, which it does
  // of all mounts but those of a part of the same file system.
  lock::Fd opened(open_name(at, name, O_RDONLY | O_DIRECTORY));
  struct stat above {};
  struct stat below {};
  if (!opened.valid()) return -1;
  if (::fstat(at, &above) != 0 || ::fstat(opened.get(), &below) != 0) return -1;
  if (above.st_dev != below.st_dev) {
    errno = EXDEV;
    return -1;
  }
  return opened.release();
}

/// Making readable what cannot be opened must not reach into another mount either; there,
/// opening says EXDEV before it says EACCES.
int open_whatever_the_mode(int at, const char* name) {
  const int fd = open_on_same_mount(at, name);
  if (fd >= 0 || errno != EACCES) return fd;
  if (!give_owner_rights(at, name)) {
    errno = EACCES;
    return -1;
  }
  return open_on_same_mount(at, name);
}

class Removal {
 public:
  Removal(int parent, std::string where) : parent_(parent), where_(std::move(where)) {}

  Result<Removed> run(const std::string& name) {
    CACHECTL_ASSIGN(const bool is_directory, remove_name(parent_, false, name.c_str()));
    if (!is_directory) return removed_;
    CACHECTL_TRY(enter(parent_, name));
    while (!levels_.empty()) {
      auto& level = levels_.back();
      if (level.directories.empty()) {
        CACHECTL_TRY(leave());
        continue;
      }
      const auto next = std::move(level.directories.back());
      level.directories.pop_back();
      if (levels_.size() < kLevels) {
        CACHECTL_TRY(enter(level.directory.get(), next));
      } else {
        CACHECTL_TRY(move_up(next));
      }
    }
    return removed_;
  }

 private:
  struct Level {
    std::string name;
    lock::Fd directory;
    std::vector<std::string> directories;  ///< in it, still to be removed
    int attempts = 0;
  };

  [[nodiscard]] std::string path_of(std::string_view name) const {
    std::string path = where_;
    for (const auto& level : levels_) path += "/" + escaped(level.name);
    return path + "/" + escaped(name);
  }

  Result<void> failed(std::string_view what, std::string_view name) const {
    const int error = errno;
    if (error == EXDEV || error == EBUSY) {
      return fail(Error{Errc::refused, error,
                        path_of(name) + ": another file system is mounted there",
                        "unmount it first"});
    }
    return fail(system_error(std::string(what) + " " + path_of(name), error));
  }

  /// Removes what is no directory. True: it is one, and is still there.
  Result<bool> remove_name(int at, bool ours, const char* name) {
    for (bool again = ours;; again = false) {
      if (::unlinkat(at, name, 0) == 0) {
        ++removed_.items;
        return false;
      }
      if (errno == ENOENT) return false;
      if (errno == EISDIR) return true;
      // Other systems say EPERM of directories, and so does a directory that only root may
      // change.
      if (errno == EPERM) {
        struct stat status {};
        if (::fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode)) {
          return true;
        }
        errno = EPERM;
      }
      if (errno == EACCES) {
        if (again && ::fchmod(at, S_IRWXU) == 0) continue;
        errno = EACCES;
      }
      return failed("remove", name).map([] { return false; });
    }
  }

  /// Opens a directory and removes all in it that is none itself.
  Result<void> enter(int at, const std::string& name) {
    Level level{name, lock::Fd(open_whatever_the_mode(at, name.c_str())), {}};
    if (!level.directory.valid()) {
      if (errno == ENOENT) return {};
      // It has become something else meanwhile.
      if (errno == ENOTDIR || errno == ELOOP) {
        CACHECTL_ASSIGN(const bool again, remove_name(at, !levels_.empty(), name.c_str()));
        return again ? enter(at, name) : Result<void>();
      }
      return failed("open", name);
    }
    make_subvolume_writable(level.directory.get());
    levels_.push_back(std::move(level));
    return empty(levels_.back());
  }

  Result<void> empty(Level& level) {
    const int directory = level.directory.get();
    return for_each_name(
        directory, [&] { return path_of(""); },
        [&](const char* name, unsigned char type) -> Result<void> {
          if (type != DT_DIR) {
            CACHECTL_ASSIGN(const bool is_directory, remove_name(directory, true, name));
            if (!is_directory) return {};
          }
          level.directories.emplace_back(name);
          return {};
        });
  }

  /// Removes the directory at the end of the way, which should be empty now.
  Result<void> leave() {
    auto& level = levels_.back();
    const bool top = levels_.size() == 1;
    const int above = top ? parent_ : levels_[levels_.size() - 2].directory.get();
    const auto remove = [&] { return ::unlinkat(above, level.name.c_str(), AT_REMOVEDIR); };
    int result = remove();
    if (result != 0 && errno == EACCES && !top && ::fchmod(above, S_IRWXU) == 0) {
      result = remove();
    }
    if (result != 0 && (errno == ENOTEMPTY || errno == EEXIST) && ++level.attempts < kAttempts) {
      // Some file systems skip names when others are removed during a listing; and
      // somebody may have made new ones.
      if (::lseek(level.directory.get(), 0, SEEK_SET) < 0) return failed("list", "");
      return empty(level);
    }
    const auto name = std::move(level.name);
    if (result == 0) ++removed_.items;
    const int error = errno;
    levels_.pop_back();
    errno = error;
    // ENOTDIR: somebody else has removed it, and put something else there.
    if (result == 0 || errno == ENOENT) return {};
    if (errno == ENOTDIR) {
      return remove_name(above, !top, name.c_str()).map([](bool) {});
    }
    return failed("remove", name);
  }

  Result<void> move_up(const std::string& name) {
    const int from = levels_.back().directory.get();
    auto& top = levels_.front();
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      auto moved = ".deep-" + std::to_string(++moves_);
      const auto rename = [&] {
        return ::syscall(SYS_renameat2, from, name.c_str(), top.directory.get(), moved.c_str(),
                         RENAME_NOREPLACE);
      };
      auto result = rename();
      if (result != 0 && errno == EACCES) {
        // All three directories are written to: the one that is moved has a new "..".
        if (::fchmod(from, S_IRWXU) != 0 || ::fchmod(top.directory.get(), S_IRWXU) != 0 ||
            !give_owner_rights(from, name.c_str())) {
          return failed("move", name);
        }
        result = rename();
      }
      if (result == 0) {
        top.directories.push_back(std::move(moved));
        return {};
      }
      if (errno == ENOENT) return {};
      if (errno != EEXIST && errno != ENOTEMPTY) return failed("move", name);
    }
    errno = EEXIST;
    return failed("move", name);
  }

  int parent_;
  std::string where_;
  std::vector<Level> levels_;
  Removed removed_;
  std::uint64_t moves_ = 0;
};

}  // namespace

Result<Removed> remove_at(int parent, const std::string& where, const std::string& name) {
  CACHECTL_TRY(check_name(name));
  return Removal(parent, where).run(name);
}

Result<Removed> remove_tree(const lock::Directory& parent, const std::string& name) {
  return remove_at(parent.descriptor(), parent.path(), name);
}

}  // namespace cachectl::tree
