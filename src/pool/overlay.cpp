#include "src/pool/overlay.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

namespace cachectl::pool {

namespace {

bool write_text(const char* path, const std::string& text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const auto written = ::write(file, text.data(), text.size());
  const int error = errno;
  ::close(file);
  errno = error;
  return written == static_cast<ssize_t>(text.size());
}

/// A mount namespace of our own; `in_user_namespace` says whether that took another user
/// namespace, in which we are who we are.
bool leave_namespace(bool& in_user_namespace, const std::string& user_map,
                     const std::string& group_map) {
  in_user_namespace = false;
  if (::unshare(CLONE_NEWNS) == 0) {
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  if (errno != EPERM || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  in_user_namespace = true;
  return write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", user_map) &&
         write_text("/proc/self/gid_map", group_map);
}

}  // namespace

std::function<bool()> mount_overlay(const Slot& slot, const KeyHash& hash,
                                    store::Generation generation) {
  // All relative to the slot, so that no byte of a path can be taken for a separator.
  const auto layers =
      "lowerdir=../../../" + store::tree_path(hash, generation) + ",upperdir=upper,workdir=work";
  const auto user = std::to_string(::geteuid());
  const auto group = std::to_string(::getegid());
  std::error_code unknown;
  const auto here = std::filesystem::current_path(unknown).native();
  return [=, directory = slot.directory().descriptor()] {
    bool in_user_namespace = false;
    // The directory becomes that of the new namespace only as the working directory.
    if (::fchdir(directory) != 0 ||
        !leave_namespace(in_user_namespace, user + " " + user + " 1", group + " " + group + " 1")) {
      return false;
    }
    const auto options = in_user_namespace ? layers + ",userxattr" : layers;
    if (::mount("overlay", "value", "overlay", 0, options.c_str()) != 0) return false;
    return here.empty() || ::chdir(here.c_str()) == 0;
  };
}

}  // namespace cachectl::pool
