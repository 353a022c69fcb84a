#include "lock/directory.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string_view>

#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

/// openat(2) of one component. A link where a directory is asked for is ELOOP, as it is
/// elsewhere, and not ENOTDIR.
int open_component(int at, const std::string& component, int flags, mode_t mode) {
  const int fd = ::openat(at, component.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd >= 0 || errno != ENOTDIR) return fd;
  struct stat status {};
  const bool link = ::fstatat(at, component.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISLNK(status.st_mode);
  errno = link ? ELOOP : ENOTDIR;
  return -1;
}

/// The fallback where openat2 is not to be had: each component on its own, so that
/// O_NOFOLLOW guards each of them.
int walk_and_open(int base, std::string_view path, int flags, mode_t mode) {
  if (path.starts_with('/')) {
    errno = EXDEV;
    return -1;
  }
  Fd holder;
  int at = base;
  while (true) {
    const auto slash = path.find('/');
    const std::string component(path.substr(0, slash));
    if (component == "..") {
      errno = EXDEV;
      return -1;
    }
    if (slash == std::string_view::npos) {
      return open_component(at, component, flags, mode);
    }
    Fd next(open_component(at, component, O_PATH | O_DIRECTORY, 0));
    if (!next.valid()) return -1;
    holder = std::move(next);
    at = holder.get();
    path.remove_prefix(slash + 1);
  }
}

int open_beneath(int base, const std::string& path, int flags, mode_t mode) {
  static std::atomic<bool> denied = false;
  flags |= O_CLOEXEC | O_NOFOLLOW;
  if ((flags & O_PATH) == 0) flags |= O_NOCTTY;  // openat2 takes no flag that means nothing
  if (!denied.load(std::memory_order_relaxed)) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags);
    // O_TMPFILE contains the bit of O_DIRECTORY.
    const bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    how.mode = creates ? mode : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, base, path.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    // Old kernels say ENOSYS. Sandboxes that do not know the call say EPERM, as a
    // real refusal may. EXDEV is said of what leads out of here, but also of a file
    // that is renamed to elsewhere at this moment, which is no crime. ENOTDIR may be a
    // link. The fallback then gives the real answer.
    if (errno != ENOSYS && errno != EPERM && errno != EXDEV && errno != ENOTDIR) return -1;
    // Refused of what another owns, as a rule; who asks for it tries again without.
    if (errno == EPERM && (flags & O_NOATIME) != 0) return -1;
    if (errno == ENOSYS) denied.store(true, std::memory_order_relaxed);
  }
  return walk_and_open(base, path, flags, mode);
}

int open_retrying(int base, const std::string& path, int flags, mode_t mode) {
  // EAGAIN: a concurrent rename made RESOLVE_BENEATH unsure; the manual says to retry.
  int left = 100;
  while (true) {
    const int fd = open_beneath(base, path, flags, mode);
    if (fd >= 0) return fd;
    if (errno == EINTR) continue;
    if (errno == EAGAIN && left-- > 0) continue;
    return -1;
  }
}

/// The sticky bit marks a directory that was made, but is not known to be durable or to
/// have its mode. mkdir sets it, and it goes once the directory above has been synced. So
/// whoever comes between, also after the death of the one who made it, finishes the work
/// before he relies on it.
constexpr mode_t kUnsettled = S_ISVTX;

/// A directory made under a umask that took away our own rights to it cannot be opened,
/// only pointed at. True: it was such a one, and can be opened now.
bool give_back_rights(int base, const char* name) {
  const Fd pointer(
      retry([&] { return ::openat(base, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
  struct stat status {};
  if (!pointer.valid() || retry([&] { return ::fstat(pointer.get(), &status); }) != 0 ||
      status.st_uid != ::geteuid() || (status.st_mode & kUnsettled) == 0) {
    return false;
  }
  const auto path = "/proc/self/fd/" + std::to_string(pointer.get());
  return ::chmod(path.c_str(), S_IRWXU | kUnsettled) == 0;
}

Error open_error(const std::string& path, int error) {
  auto failure = system_error("open " + path, error);
  if (error == ELOOP || error == EXDEV) {
    failure.code = Errc::refused;
    failure.message = path + ": is or passes through a symbolic link; refused";
    failure.advice = "remove the link, or name the directory that it points to";
  }
  return failure;
}

}  // namespace

Result<Directory> Directory::open(const std::string& path) {
  while (true) {
    Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd.valid()) return Directory(std::move(fd), path);
    if (errno == EINTR) continue;
    const int error = errno;
    struct stat status {};
    if (error == ENOTDIR && retry([&] { return ::lstat(path.c_str(), &status); }) == 0 &&
        S_ISLNK(status.st_mode)) {
      return fail(open_error(path, ELOOP));
    }
    return fail(open_error(path, error));
  }
}

Result<Directory> Directory::open_below(const std::string& name) const {
  CACHECTL_ASSIGN(Fd fd, open_file(name, O_RDONLY | O_DIRECTORY));
  return Directory(std::move(fd), path_of(name));
}

Result<std::optional<Directory>> Directory::find_below(const std::string& name) const {
  auto directory = open_below(name);
  if (directory) return std::optional(std::move(*directory));
  if (directory.error().system_error == ENOENT) return std::optional<Directory>();
  return fail(std::move(directory).error());
}

Result<Directory> Directory::ensure_below(const std::string& name, mode_t mode,
                                          bool durable) const {
  auto directory = open_below(name);
  if (!directory && directory.error().system_error == ENOENT) {
    const mode_t first = (mode & 0777U) | kUnsettled;
    if (retry([&] { return ::mkdirat(fd_.get(), name.c_str(), first); }) != 0 && errno != EEXIST) {
      return fail(system_error("mkdir " + path_of(name)));
    }
    directory = open_below(name);
  }
  if (!directory && directory.error().system_error == EACCES &&
      give_back_rights(fd_.get(), name.c_str())) {
    directory = open_below(name);
  }
  struct stat status {};
  if (!directory || retry([&] { return ::fstat(directory->descriptor(), &status); }) != 0 ||
      (status.st_mode & kUnsettled) == 0) {
    return directory;
  }
  const auto change = [&](mode_t to) {
    const bool done = retry([&] { return ::fchmod(directory->descriptor(), to); }) == 0;
    return done || errno == EPERM;  // another's: his to settle, once he goes on
  };
  // Others may use it from now on; they will sync for themselves while it is marked.
  bool changed = change(mode | kUnsettled);
  if (durable) CACHECTL_TRY(sync());
  changed = changed && change(mode);
  if (!changed) return fail(system_error("chmod " + path_of(name)));
  return directory;
}

Result<Fd> Directory::open_file(const std::string& name, int flags, mode_t mode) const {
  Fd fd(open_retrying(fd_.get(), name, flags, mode));
  if (!fd.valid()) return fail(open_error(path_of(name), errno));
  return fd;
}

Result<Fd> Directory::open_or_create(const std::string& name, mode_t mode) const {
  auto file = open_file(name, O_RDWR);
  if (file || file.error().system_error != ENOENT) return file;
  file = open_file(name, O_RDWR | O_CREAT, mode);
  // The umask may have taken our own rights away. Only the owner may mend that.
  if (file && retry([&] { return ::fchmod(file->get(), mode); }) != 0 && errno != EPERM) {
    return fail(system_error("chmod " + path_of(name)));
  }
  return file;
}

Result<std::optional<Fd>> Directory::open_if_exists(const std::string& name, int flags) const {
  Fd fd(open_retrying(fd_.get(), name, flags, 0));
  if (fd.valid()) return std::optional<Fd>(std::move(fd));
  if (errno == ENOENT) return std::optional<Fd>();
  return fail(open_error(path_of(name), errno));
}

Result<std::optional<std::string>> Directory::read_if_exists(const std::string& name) const {
  CACHECTL_ASSIGN(const auto file, open_if_exists(name, O_RDONLY | O_NONBLOCK));
  if (!file) return std::optional<std::string>();
  const auto path = path_of(name);
  CACHECTL_ASSIGN(const struct stat status, status_of(file->get(), path));
  std::string text(static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)), '\0');
  CACHECTL_ASSIGN(const std::size_t got,
                  read_full_at(file->get(), std::as_writable_bytes(std::span(text)), 0, path));
  text.resize(got);
  return std::optional(std::move(text));
}

Result<std::optional<struct stat>> Directory::status(const std::string& name) const {
  struct stat status {};
  if (retry([&] { return ::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW); }) ==
      0) {
    return std::optional(status);
  }
  if (errno == ENOENT) return std::optional<struct stat>();
  return fail(system_error("stat " + path_of(name)));
}

Result<bool> Directory::unlink(const std::string& name) const {
  if (retry([&] { return ::unlinkat(fd_.get(), name.c_str(), 0); }) == 0) return true;
  if (errno == ENOENT) return false;
  return fail(system_error("remove " + path_of(name)));
}

Result<void> Directory::sync() const { return lock::sync(fd_.get(), path_); }

}  // namespace cachectl::lock
