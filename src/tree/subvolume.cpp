#include "src/tree/subvolume.hpp"

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "lock/retry.hpp"

namespace cachectl::tree {

namespace {

/// The number of the top directory of each subvolume.
constexpr ino_t kTopInode = 256;

bool is_own_subvolume(int directory) {
  struct stat status {};
  struct statfs where {};
  return ::fstat(directory, &status) == 0 && status.st_ino == kTopInode &&
         S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() &&
         ::fstatfs(directory, &where) == 0 && where.f_type == BTRFS_SUPER_MAGIC;
}

}  // namespace

Result<bool> snapshot_subvolume(int from, const lock::Directory& to, const std::string& name) {
  btrfs_ioctl_vol_args_v2 arguments{};
  if (!is_own_subvolume(from) || name.size() >= sizeof arguments.name) return false;
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

}  // namespace cachectl::tree
