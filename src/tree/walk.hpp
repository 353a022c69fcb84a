// Walking a tree, item for item, in the order of path_less.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "lock/directory.hpp"
#include "lock/fd.hpp"

namespace cachectl::tree {

/// The top of a tree: a directory, or one regular file.
struct Top {
  struct stat status {};
  lock::Fd directory;  ///< open for reading where it is one
};

struct Found {
  std::string path;
  struct stat status {};
  std::string target;  ///< of a symbolic link
};

enum class Unreadable {
  error,
  make_readable,  ///< give the owner all rights to such directories
};

struct WalkOptions {
  Unreadable unreadable = Unreadable::error;
  /// Whether devices, sockets, FIFOs and links as the top are errors.
  bool refuse_special = true;
};

/// Opens the top. ENOENT is an error with that errno.
[[nodiscard]] Result<Top> open_top(const lock::Directory& parent, const std::string& name,
                                   const WalkOptions& options = {});

/// Calls `visit` for the top and for all below it. The whole tree is not held in memory, only
/// the directories on the way to where it is.
[[nodiscard]] Result<void> walk(const Top& top, const std::string& where,
                                const WalkOptions& options,
                                const std::function<Result<void>(Found&&)>& visit);

}  // namespace cachectl::tree
