// Skeleton: of a tree that is being made, all but the contents of its files.
//
//   make_directories -> files and symbolic links, by whoever has them -> link -> finish
//
// Everything is made in a directory that nobody else looks at, with rights for its owner only
// until it is finished. No link is followed (cursor.hpp).
#pragma once

#include <string>
#include <vector>

#include "lock/directory.hpp"
#include "src/tree/cursor.hpp"
#include "src/tree/manifest.hpp"

namespace cachectl::tree {

/// Items of a manifest, by their numbers, in its order.
using Indexes = std::vector<std::size_t>;

struct Parts {
  Indexes directories;  ///< without the tree itself
  Indexes contents;     ///< files and symbolic links
  Indexes links;        ///< further names of files
};
[[nodiscard]] Parts parts_of(const Manifest& manifest);

class Skeleton {
 public:
  /// `top` is that of the new tree, and must stay open; `where` names it in errors.
  Skeleton(int top, std::string where, const Manifest& manifest)
      : top_(top), where_(std::move(where)), manifest_(&manifest) {}

  /// With all rights for the owner and none for others.
  [[nodiscard]] Result<void> make_directories(const Indexes& items) const;
  [[nodiscard]] Result<void> link(const Indexes& items) const;
  /// Modes and times of directories, that of the tree itself (0) among them, the deepest first:
  /// each change below sets the time again, and one that its owner may not enter bars the way.
  [[nodiscard]] Result<void> finish(const Indexes& items) const;

 private:
  int top_;
  std::string where_;
  const Manifest* manifest_;
};

/// Makes the top directory of a new tree, `name` in `in`.
[[nodiscard]] Result<lock::Fd> make_top(const lock::Directory& in, const std::string& name);

/// Makes a symbolic link, with its time, in the tree of `to`.
[[nodiscard]] Result<void> make_symlink(Cursor& to, const Item& item);

/// Makes an empty file for writing. That there is something already is an error.
[[nodiscard]] Result<lock::Fd> make_file(Cursor& to, const std::string& path);
/// Sets mode and time of a file. After its content: writing takes the set-user-ID bit away, and
/// sets the time. `what` names it in errors.
[[nodiscard]] Result<void> dress(int file, const Item& item, const std::string& what);

}  // namespace cachectl::tree
