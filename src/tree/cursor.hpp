// Cursor: the directories below one directory, by path, with few descriptors.
//
// A path is never handed to the kernel: each name on the way is opened on its own, with
// O_NOFOLLOW, so that a link that somebody plants at any moment is an error and leads
// nowhere. The way back is not "..", which leads out of the tree when a directory is moved
// out of it meanwhile. So the descriptors of the levels above are kept, but only of the
// last few: a tree of 4,000 levels must not need 4,000 descriptors. A level whose
// descriptor is gone is reached again from the top, and the levels on that way are kept in
// turn, so that climbing out of N levels costs N * N / kWindow / 2 lookups and not N * N.
//
// Cheap for items in the order of path_less. One thread; each has its own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lock/fd.hpp"

namespace cachectl::tree {

class Cursor {
 public:
  /// `top` must outlive the cursor. `where` names it in errors. `flags` are O_RDONLY to
  /// list directories, or O_PATH, which needs no right to read them.
  Cursor(int top, std::string where, int flags);

  /// Descriptor of a directory; empty path: the top. Good until the next call.
  /// Errc::refused where a name on the way is no directory.
  [[nodiscard]] Result<int> at(std::string_view path);

  /// After directories were removed or replaced: they are opened anew.
  void forget();

  /// For messages: where, and the path, printable.
  [[nodiscard]] std::string name(std::string_view path) const;

 private:
  static constexpr std::size_t kWindow = 32;

  [[nodiscard]] std::size_t levels_shared_with(std::string_view path) const;

  int top_;
  std::string where_;
  int flags_;
  std::string path_;               ///< where it stands
  std::vector<std::size_t> ends_;  ///< of each level in path_
  std::vector<lock::Fd> levels_;   ///< as many; those long passed are closed
};

/// where + "/" + path, printable.
[[nodiscard]] std::string item_name(std::string_view where, std::string_view path);

/// openat(2) of one name, following no link. O_CLOEXEC, O_NOFOLLOW and O_NOCTTY are added.
[[nodiscard]] int open_name(int directory, const char* name, int flags, mode_t mode = 0);

/// The error of opening a directory: a link, or anything else that is no directory, is
/// refused.
[[nodiscard]] Error open_directory_error(std::string_view what, int error);

/// Gives its owner all rights to a directory that cannot be opened. False: not ours, or no
/// directory; errno says why.
[[nodiscard]] bool give_owner_rights(int directory, const char* name);

/// Whether `name` may be the name of a tree in a directory; else Errc::usage.
[[nodiscard]] Result<void> check_name(const std::string& name);

}  // namespace cachectl::tree
