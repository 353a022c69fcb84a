// oplog_shim: a library for LD_PRELOAD that writes down what a program does to files
// below a directory, for the enumeration of crash states (tests/store/disk_states.hpp).
//
//   CACHECTL_OPLOG             the log, appended to
//   CACHECTL_OPLOG_BELOW       operations on other files are not logged
//   CACHECTL_OPLOG_SKIP        "file-sync" or "directory-sync": these are neither done nor
//                              logged, as in a program that forgets them
//   CACHECTL_OPLOG_KILL_AFTER  SIGKILL after so many operations
//
// One line an operation; inodes by number, names percent-free as we use none but plain
// ones, data in hexadecimal:
//
//   mkdir PARENT NAME INODE MODE      create PARENT NAME INODE MODE
//   write INODE OFFSET DATA           rename PARENT NAME PARENT NAME INODE
//   unlink PARENT NAME                chmod INODE MODE                sync INODE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string path_of(int descriptor) {
  std::array<char, PATH_MAX> path;
  const auto link = "/proc/self/fd/" + std::to_string(descriptor);
  const auto size = ::readlink(link.c_str(), path.data(), path.size());
  return size < 0 ? "" : std::string(path.data(), static_cast<std::size_t>(size));
}

bool watched(const std::string& path) {
  const auto below = setting("CACHECTL_OPLOG_BELOW");
  return !below.empty() && path.compare(0, below.size(), below) == 0;
}

void log(const std::string& line) {
  static const auto real_write = next<ssize_t (*)(int, const void*, size_t)>("write");
  const auto path = setting("CACHECTL_OPLOG");
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) ::abort();
  const auto text = line + "\n";
  if (real_write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::abort();
  ::close(file);

  static long operations = 0;
  const auto limit = setting("CACHECTL_OPLOG_KILL_AFTER");
  if (!limit.empty() && ++operations == std::atol(limit.c_str())) ::raise(SIGKILL);
}

std::string inode_of(const struct stat& status) { return std::to_string(status.st_ino); }

std::string inode_of(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? inode_of(status) : "0";
}

std::string inode_at(int directory, const char* name) {
  struct stat status {};
  return ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? inode_of(status) : "0";
}

std::string mode_of(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? std::to_string(status.st_mode & 07777U) : "0";
}

void log_write(int file, const void* data, ssize_t size, off_t offset) {
  if (size < 0 || !watched(path_of(file))) return;
  std::string line = "write " + inode_of(file) + " " + std::to_string(offset) + " ";
  for (ssize_t at = 0; at < size; ++at) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto byte = static_cast<const unsigned char*>(data)[at];
    line += {kDigits[byte / 16], kDigits[byte % 16]};
  }
  log(line);
}

void log_create(int directory, const char* name, int file) {
  const std::string path = name;
  if (!watched(path_of(file))) return;
  const auto slash = path.rfind('/');
  if (slash != std::string::npos) ::abort();  // we create by plain names only
  log("create " + inode_of(directory) + " " + path + " " + inode_of(file) + " " + mode_of(file));
}

}  // namespace

extern "C" {

long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  std::array<long, 6> arguments{};
  for (auto& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  const bool open = number == SYS_openat2;
  const auto* how = reinterpret_cast<const open_how*>(arguments[2]);
  const bool creates = open && (how->flags & O_CREAT) != 0;
  const int directory = static_cast<int>(arguments[0]);
  const auto* name = reinterpret_cast<const char*>(arguments[1]);
  const bool was_there = creates && inode_at(directory, name) != "0";
  const long result = next<long (*)(long, ...)>("syscall")(
      number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
  if (creates && result >= 0 && !was_there) log_create(directory, name, static_cast<int>(result));
  return result;
}

int mkdir(const char* path, mode_t mode) {
  const int result = next<int (*)(const char*, mode_t)>("mkdir")(path, mode);
  const std::string whole = path;
  const auto slash = whole.rfind('/');
  if (result == 0 && watched(whole)) {
    struct stat status {};
    ::stat(path, &status);
    log("mkdir " + inode_at(AT_FDCWD, whole.substr(0, slash).c_str()) + " " +
        whole.substr(slash + 1) + " " + inode_of(status) + " " +
        std::to_string(status.st_mode & 07777U));
  }
  return result;
}

int mkdirat(int directory, const char* name, mode_t mode) {
  const int result = next<int (*)(int, const char*, mode_t)>("mkdirat")(directory, name, mode);
  if (result == 0 && watched(path_of(directory))) {
    struct stat status {};
    ::fstatat(directory, name, &status, 0);
    log("mkdir " + inode_of(directory) + " " + name + " " + inode_of(status) + " " +
        std::to_string(status.st_mode & 07777U));
  }
  return result;
}

ssize_t write(int file, const void* data, size_t size) {
  const off_t offset = ::lseek(file, 0, SEEK_CUR);
  const auto written = next<ssize_t (*)(int, const void*, size_t)>("write")(file, data, size);
  if (offset >= 0) log_write(file, data, written, offset);
  return written;
}

ssize_t pwrite(int file, const void* data, size_t size, off_t offset) {
  const auto written =
      next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite")(file, data, size, offset);
  log_write(file, data, written, offset);
  return written;
}

int renameat(int from, const char* name, int to, const char* new_name) {
  const auto inode = inode_at(from, name);
  const int result =
      next<int (*)(int, const char*, int, const char*)>("renameat")(from, name, to, new_name);
  if (result == 0 && watched(path_of(to))) {
    log("rename " + inode_of(from) + " " + name + " " + inode_of(to) + " " + new_name + " " +
        inode);
  }
  return result;
}

int unlinkat(int directory, const char* name, int flags) {
  const int result = next<int (*)(int, const char*, int)>("unlinkat")(directory, name, flags);
  if (result == 0 && watched(path_of(directory))) {
    log("unlink " + inode_of(directory) + " " + name);
  }
  return result;
}

int fchmod(int file, mode_t mode) {
  const int result = next<int (*)(int, mode_t)>("fchmod")(file, mode);
  if (result == 0 && watched(path_of(file))) {
    log("chmod " + inode_of(file) + " " + std::to_string(mode));
  }
  return result;
}

int fsync(int file) {
  struct stat status {};
  const bool known = ::fstat(file, &status) == 0;
  const auto skip = setting("CACHECTL_OPLOG_SKIP");
  if (known && skip == (S_ISDIR(status.st_mode) ? "directory-sync" : "file-sync")) return 0;
  const int result = next<int (*)(int)>("fsync")(file);
  // The directory above a new root is watched too: its name has to be durable.
  if (result == 0) log("sync " + inode_of(status));
  return result;
}

}  // extern "C"
