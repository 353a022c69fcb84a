#include "src/tree/cursor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lock/retry.hpp"
#include "src/key.hpp"

namespace cachectl::tree {

std::string item_name(std::string_view where, std::string_view path) {
  std::string text(where);
  if (!path.empty()) text += "/" + escaped(path);
  return text;
}

int open_name(int directory, const char* name, int flags, mode_t mode) {
  return lock::retry(
      [&] { return ::openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, mode); });
}

Error open_directory_error(std::string_view what, int error) {
  if (error != ENOTDIR && error != ELOOP) {
    return system_error("open " + std::string(what), error);
  }
  return {Errc::refused, error, std::string(what) + ": is no directory", {}};
}

bool give_owner_rights(int directory, const char* name) {
  // What cannot be opened can still be pointed at, and changed through /proc.
  const lock::Fd pointer(open_name(directory, name, O_PATH | O_DIRECTORY));
  struct stat status {};
  if (!pointer.valid() || ::fstat(pointer.get(), &status) != 0) return false;
  const auto path = "/proc/self/fd/" + std::to_string(pointer.get());
  return ::chmod(path.c_str(), (status.st_mode & 07777U) | S_IRWXU) == 0;
}

Result<void> check_name(const std::string& name) {
  if (!name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
      name.find('\0') == std::string::npos) {
    return {};
  }
  return fail(Errc::usage, "'" + escaped(name) + "' cannot be the name of a tree");
}

Cursor::Cursor(int top, std::string where, int flags)
    : top_(top), where_(std::move(where)), flags_(flags | O_DIRECTORY) {}

std::string Cursor::name(std::string_view path) const { return item_name(where_, path); }

void Cursor::forget() {
  path_.clear();
  ends_.clear();
  levels_.clear();
}

std::size_t Cursor::levels_shared_with(std::string_view path) const {
  const auto shorter = std::min(path.size(), path_.size());
  const auto same = static_cast<std::size_t>(
      std::mismatch(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(shorter),
                    path_.begin())
          .first -
      path.begin());
  auto levels =
      static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), same) - ends_.begin());
  // "a/bc" shares the first five bytes of "a/bcd", but not the level.
  while (levels > 0 && ends_[levels - 1] < path.size() && path[ends_[levels - 1]] != '/') --levels;
  return levels;
}

Result<int> Cursor::at(std::string_view path) {
  if (path == path_ && (levels_.empty() || levels_.back().valid())) {
    return levels_.empty() ? top_ : levels_.back().get();
  }
  const auto shared = levels_shared_with(path);
  levels_.resize(shared);
  ends_.resize(shared);
  path_.resize(shared == 0 ? 0 : ends_.back());

  // The deepest level that is still open; the closed ones below it are opened again.
  auto open = shared;
  while (open > 0 && !levels_[open - 1].valid()) --open;
  int at = open == 0 ? top_ : levels_[open - 1].get();
  auto from = open == 0 ? 0 : ends_[open - 1];
  path_.resize(from);
  ends_.resize(open);
  levels_.resize(open);

  while (path_.size() < path.size()) {
    if (from != 0) ++from;  // the slash
    const auto end = std::min(path.find('/', from), path.size());
    const std::string component(path.substr(from, end - from));
    if (component.empty() || component == "." || component == "..") {
      return fail(Errc::refused, name(path) + ": leads out of the tree");
    }
    lock::Fd next(open_name(at, component.c_str(), flags_));
    if (!next.valid()) return fail(open_directory_error(name(path.substr(0, end)), errno));
    at = next.get();
    path_.append(path.substr(path_.size(), end - path_.size()));
    ends_.push_back(end);
    levels_.push_back(std::move(next));
    if (levels_.size() > kWindow) levels_[levels_.size() - 1 - kWindow].reset();
    from = end;
  }
  return at;
}

}  // namespace cachectl::tree
