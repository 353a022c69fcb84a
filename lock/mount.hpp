// Mount: which file system a file lies on, as the kernel's list of mounts tells.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cachectl::lock {

struct Mount {
  std::string device;   ///< "fe:00", hexadecimal, as in /proc/locks
  std::string type;     ///< "ext4", "fuse.sshfs"
  std::string point;    ///< where it is mounted
  std::string options;  ///< "rw,noatime,nobarrier": of the mount and of the file system
  bool read_only = false;

  /// Whether `option` is one of them.
  [[nodiscard]] bool has(std::string_view option) const;
};

/// Of an open file or directory; nullopt: /proc does not tell.
[[nodiscard]] std::optional<Mount> mount_of(int descriptor);

/// "name:" in /proc/self/fdinfo of a descriptor, a number; nullopt: it is not there.
[[nodiscard]] std::optional<std::uint64_t> descriptor_info(int descriptor, std::string_view name);

/// All of a file of /proc; empty when it cannot be read.
[[nodiscard]] std::string read_proc(const std::string& path);

}  // namespace cachectl::lock
