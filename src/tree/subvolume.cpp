#include "src/tree/subvolume.hpp"

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "lock/retry.hpp"

namespace cachectl::tree {

namespace {

/// The number of the top directory of each subvolume.
constexpr ino_t kTopInode = 256;

bool is_subvolume(int directory, struct stat& status) {
  struct statfs where {};
  return ::fstat(directory, &status) == 0 && status.st_ino == kTopInode &&
         S_ISDIR(status.st_mode) && ::fstatfs(directory, &where) == 0 &&
         where.f_type == BTRFS_SUPER_MAGIC;
}

}  // namespace

Result<bool> snapshot_subvolume(int from, const lock::Directory& to, const std::string& name) {
  btrfs_ioctl_vol_args_v2 arguments{};
  struct stat status {};
  if (!is_subvolume(from, status) || status.st_uid != ::geteuid()) return false;
  if (name.size() >= sizeof arguments.name) return false;
  arguments.fd = from;
  name.copy(arguments.name, name.size());
  const auto snapshot = [&] {
    return ::ioctl(to.descriptor(), BTRFS_IOC_SNAP_CREATE_V2, &arguments);
  };
  if (lock::retry(snapshot) == 0) return true;
  // Of another file system, or a sandbox forbids it.
  if (errno == EXDEV || errno == EPERM || errno == ENOTTY) return false;
  return fail(system_error("make a snapshot at " + to.path_of(name)));
}

void make_subvolume_writable(int directory) {
  struct stat status {};
  std::uint64_t flags = 0;
  if (!is_subvolume(directory, status)) return;
  if (::ioctl(directory, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) != 0) return;
  if ((flags & BTRFS_SUBVOL_RDONLY) == 0) return;
  flags &= ~std::uint64_t{BTRFS_SUBVOL_RDONLY};
  // What is written next says why, where it cannot be.
  [[maybe_unused]] const int result = ::ioctl(directory, BTRFS_IOC_SUBVOL_SETFLAGS, &flags);
}

}  // namespace cachectl::tree
