#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <system_error>

#include "lock/file_lock.hpp"
#include "lock/mount.hpp"
#include "lock/retry.hpp"
#include "lock/staged_file.hpp"
#include "src/config/duration.hpp"
#include "src/config/size.hpp"
#include "src/doctor/checks.hpp"

namespace cachectl::doctor {

namespace {

using lock::Directory;
using lock::Mode;
using std::chrono::steady_clock;

constexpr lock::Range kWholeFile{0, 0};
/// A publish needs three syncs; above this people will notice.
constexpr std::chrono::milliseconds kSlowSync{100};
constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;
constexpr std::uint64_t kLittleSpace = 100 * kMebibyte;
constexpr std::uint64_t kNoSpace = kMebibyte;
constexpr std::uint64_t kFewInodes = 1000;

struct Trap {
  std::string_view type;  ///< as in mountinfo; "fuse" stands for "fuse.sshfs" too
  long magic;             ///< f_type, where there is no /proc; 0: none of its own
  std::string_view what;
  std::string_view advice;
};

constexpr std::string_view kNetwork =
    "a network file system: whether locks exclude other machines, and what fsync promises, is "
    "up to the server";
constexpr std::string_view kUseLocal = "put the root on a local disk; each machine its own cache";

constexpr auto kTraps = std::to_array<Trap>({
    {"tmpfs", TMPFS_MAGIC, "in memory: what is stored is gone after a restart",
     "put the root on a disk, unless that is meant"},
    {"ramfs", RAMFS_MAGIC, "in memory: what is stored is gone after a restart",
     "put the root on a disk, unless that is meant"},
    {"overlay", OVERLAYFS_SUPER_MAGIC,
     "an overlay: containers that share its image do not share its locks, and what is stored "
     "goes with the container",
     "mount a directory of the host, the same one in all containers"},
    {"nfs", NFS_SUPER_MAGIC, kNetwork, kUseLocal},
    {"nfs4", 0, kNetwork, kUseLocal},
    {"cifs", 0xFF534D42, kNetwork, kUseLocal},
    {"smb3", 0xFE534D42, kNetwork, kUseLocal},
    {"9p", V9FS_MAGIC, kNetwork, kUseLocal},
    {"ceph", 0x00c36400, kNetwork, kUseLocal},
    {"afs", AFS_SUPER_MAGIC, kNetwork, kUseLocal},
    {"lustre", 0x0BD00BD0, kNetwork, kUseLocal},
    {"fuse", 0x65735546,
     "a file system in user space: whether locks exclude others, and what fsync promises, is up "
     "to its program",
     kUseLocal},
    {"vfat", MSDOS_SUPER_MAGIC, "without modes and owners: others cannot be kept out",
     "put the root on a file system with modes, such as ext4"},
    {"exfat", EXFAT_SUPER_MAGIC, "without modes and owners: others cannot be kept out",
     "put the root on a file system with modes, such as ext4"},
});

const Trap* trap_of(const std::optional<lock::Mount>& mount, long magic) {
  for (const auto& trap : kTraps) {
    const bool same =
        mount ? mount->type == trap.type || (trap.type == "fuse" && mount->type.starts_with("fuse"))
              : trap.magic != 0 && trap.magic == magic;
    if (same) return &trap;
  }
  return nullptr;
}

/// Those of the path as it is written, and those that its links lead to.
std::set<std::string> directories_above(const std::string& path) {
  std::set<std::string> found;
  std::error_code error;
  const auto real = std::filesystem::weakly_canonical(path, error);
  for (auto at : {path, error ? path : real.native()}) {
    while (at.size() > 1) {
      const auto slash = at.rfind('/');
      at = slash == 0 || slash == std::string::npos ? "/" : at.substr(0, slash);
      found.insert(at);
    }
  }
  return found;
}

std::string who(const struct stat& status) {
  return (status.st_mode & S_IWOTH) != 0 ? "everybody" : fmt::format("group {}", status.st_gid);
}

std::string in_time(steady_clock::duration duration) {
  return fmt::format("{:.1f} ms", std::chrono::duration<double, std::milli>(duration).count());
}

/// Runs `body` in a forked process; what it returned, or -1.
int in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid < 0) return -1;
  if (pid == 0) ::_exit(body());
  int status = 0;
  if (lock::retry([&] { return ::waitpid(pid, &status, 0); }) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

constexpr int kHeld = 10;
constexpr int kBusy = 11;
constexpr int kBroken = 12;

/// Whether another process gets the lock; opened anew, as others do.
int try_lock(const Directory& directory, const std::string& name, Mode mode) {
  return in_child([&] {
    auto opened = directory.open_file(name, O_RDWR);
    if (!opened) return kBroken;
    lock::FileLock file(std::move(*opened), name);
    const auto held = file.lock(kWholeFile, mode, lock::Deadline::immediately());
    return !held ? kBroken : *held ? kHeld : kBusy;
  });
}

/// What is wrong with the locks; nullopt: nothing.
Result<std::optional<std::string>> fault_of_locks(const Directory& staging) {
  CACHECTL_ASSIGN(const auto scratch, lock::StagedFile::create(staging, 0600));  // it is locked
  using Fault = std::optional<std::string>;
  for (const auto mode : {Mode::exclusive, Mode::shared}) {
    const int got = try_lock(staging, scratch.name(), mode);
    if (got == kHeld) return Fault("two processes hold one lock at the same time");
    if (got != kBusy) return Fault("another process could not try a lock");
  }
  // A second one, let go: what one process has released another must get.
  auto opened = staging.open_file(scratch.name(), O_RDWR);
  if (!opened) return fail(std::move(opened).error());
  if (!lock::backend.survives_close) return Fault();
  { const lock::FileLock second(std::move(*opened), scratch.path()); }
  if (try_lock(staging, scratch.name(), Mode::exclusive) != kBusy) {
    return Fault("a lock is lost when another descriptor of its file is closed");
  }
  return Fault();
}

struct Times {
  steady_clock::duration file{};
  steady_clock::duration directory{};
};

template <typename Call>
Result<steady_clock::duration> timed(Call call) {
  const auto start = steady_clock::now();
  CACHECTL_TRY(call());
  return steady_clock::now() - start;
}

/// Publishes one file over another, as a value is; what readers see before and after.
Result<std::optional<std::string>> fault_of_publishing(const Directory& staging, Times& times) {
  const std::string old_text(4096, 'o');
  const std::string new_text(4096, 'n');
  CACHECTL_ASSIGN(auto target, lock::StagedFile::create(staging, 0600));
  const auto name = target.name();
  CACHECTL_TRY(lock::write_all(target.descriptor(), lock::bytes_of(old_text), target.path()));
  CACHECTL_ASSIGN(times.file,
                  timed([&] { return lock::sync(target.descriptor(), target.path()); }));
  CACHECTL_ASSIGN(auto next, lock::StagedFile::create(staging, 0600));
  CACHECTL_TRY(lock::write_all(next.descriptor(), lock::bytes_of(new_text), next.path()));
  CACHECTL_TRY(lock::sync(next.descriptor(), next.path()));
  CACHECTL_ASSIGN(const auto reader, staging.open_file(name, O_RDONLY));
  // From here on the name is that of `next`, and `target`, in going, removes it.
  CACHECTL_TRY(next.commit(staging, name, lock::Durability::none));
  CACHECTL_ASSIGN(times.directory, timed([&] { return staging.sync(); }));
  std::string seen(4096, '\0');
  CACHECTL_ASSIGN(const std::size_t got,
                  lock::read_full_at(reader.get(), std::as_writable_bytes(std::span(seen)), 0,
                                     staging.path_of(name)));
  using Fault = std::optional<std::string>;
  if (got != seen.size() || seen != old_text) {
    return Fault("a reader of a file that is replaced does not see the old one any more");
  }
  CACHECTL_ASSIGN(const auto after, staging.read_if_exists(name));
  if (!after || *after != new_text) {
    return Fault("a file that was put in the place of another is not there");
  }
  return Fault();
}

}  // namespace

void check_above(const std::string& path, Report& report) {
  const std::string_view check = "above the root";
  bool safe = true;
  for (const auto& at : directories_above(path)) {
    struct stat status {};
    if (lock::retry([&] { return ::stat(at.c_str(), &status); }) != 0) continue;
    const bool trusted = status.st_uid == 0 || status.st_uid == ::geteuid();
    const bool open = (status.st_mode & (S_IWOTH | S_IWGRP)) != 0;
    if (trusted && (!open || (status.st_mode & S_ISVTX) != 0)) continue;
    safe = false;
    report.warning(check,
                   !trusted ? fmt::format("{} belongs to uid {}, who may put another directory in "
                                          "the place of the root",
                                          at, status.st_uid)
                            : fmt::format("{}: {} may write to it, and put another directory in "
                                          "the place of the root",
                                          at, who(status)),
                   !trusted
                       ? "choose a root below directories of your own"
                       : fmt::format("chmod go-w {0}, or set its sticky bit: chmod +t {0}", at));
  }
  if (safe) report.ok(check, "nobody else may replace a directory on the way to it");
}

void check_file_system(const Directory& directory, Report& report) {
  const std::string_view check = "file system";
  const auto mount = lock::mount_of(directory.descriptor());
  struct statfs status {};
  if (lock::retry([&] { return ::fstatfs(directory.descriptor(), &status); }) != 0) {
    return report.failure(check, system_error("statfs " + directory.path()));
  }
  const auto* trap = trap_of(mount, static_cast<long>(status.f_type));
  const auto name = mount ? fmt::format("{} at {}", mount->type, mount->point)
                          : fmt::format("of type {:#x}", static_cast<unsigned long>(status.f_type));
  if ((static_cast<unsigned long>(status.f_flags) & ST_RDONLY) != 0) {
    report.failure(check, name + ": mounted read-only: values are found, none can be stored",
                   "mount it for writing, or choose another root");
  }
  if (trap != nullptr) {
    return report.warning(check, fmt::format("{}: {}", name, trap->what),
                          std::string(trap->advice));
  }
  if (mount && (mount->has("nobarrier") || mount->has("barrier=0"))) {
    return report.warning(check,
                          name +
                              ": mounted without write barriers: a power loss may undo what "
                              "fsync has promised",
                          "mount it with barriers, unless its disk has a battery");
  }
  report.ok(check, name);
}

void check_space(const Directory& directory, Report& report) {
  const std::string_view check = "space";
  struct statvfs status {};
  if (lock::retry([&] { return ::fstatvfs(directory.descriptor(), &status); }) != 0) {
    return report.failure(check, system_error("statvfs " + directory.path()));
  }
  const std::uint64_t free = std::uint64_t{status.f_bavail} * status.f_frsize;
  const std::uint64_t size = std::uint64_t{status.f_blocks} * status.f_frsize;
  const auto text =
      fmt::format("{} of {} free", config::format_size(free), config::format_size(size));
  const std::string advice =
      "make room on it; of what is cached, cachectl gc --max-size SIZE leaves SIZE";
  if (free < kNoSpace) {
    report.failure(check, text, advice);
  } else if (free < kLittleSpace && free < size / 10) {
    report.warning(check, text, advice);
  } else {
    report.ok(check, text);
  }
  // None where the file system makes them as they are needed.
  if (status.f_files == 0) return;
  const auto inodes = fmt::format("{} of {} inodes free", std::uint64_t{status.f_favail},
                                  std::uint64_t{status.f_files});
  const std::string fewer = "remove what is not needed: cachectl gc --max-entries N";
  if (status.f_favail < 3) {  // of a publish: staging file, record, directory
    report.failure(check, inodes, fewer);
  } else if (status.f_favail < kFewInodes) {
    report.warning(check, inodes, fewer);
  } else {
    report.ok(check, inodes);
  }
}

void check_locks(const Directory& staging, Report& report) {
  const std::string_view check = "locks";
  const auto fault = fault_of_locks(staging);
  if (!fault) return report.failure(check, fault.error());
  if (*fault) {
    return report.failure(check, **fault, "put the root on a local file system");
  }
  report.ok(check,
            fmt::format("a lock keeps another process out (backend {})", lock::backend.name));
}

void check_publishing(const Directory& staging, Report& report) {
  const std::string_view check = "publishing";
  Times times;
  const auto fault = fault_of_publishing(staging, times);
  if (!fault) return report.failure(check, fault.error());
  if (*fault) return report.failure(check, **fault, "put the root on a local file system");
  const auto text = fmt::format(
      "rename replaces a file at once; fsync takes {} for a file, {} for "
      "a directory",
      in_time(times.file), in_time(times.directory));
  if (times.file > kSlowSync || times.directory > kSlowSync) {
    return report.warning(check, text,
                          "each durable write waits for it: a faster disk, or --durability none");
  }
  report.ok(check, text);
}

}  // namespace cachectl::doctor
