// Copying a tree: by sharing blocks where the file system can, else by moving bytes.
//
// The copy has the names, contents, modes, modification times, symbolic links and hard
// links of the tree, and belongs to whoever makes it. Holes are kept. Nothing outside of
// both trees is read or written, whatever happens to them meanwhile.
//
// Not atomic and not durable: copy to a place that nobody looks at, see sync.hpp, rename.
// After an error or an interruption a part of the copy is there; see remove.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lock/directory.hpp"
#include "src/tree/manifest.hpp"
#include "src/tree/scan.hpp"

namespace cachectl::tree {

enum class Method {
  snapshot,   ///< a directory that is a subvolume of btrfs, as a whole, by one call
  reflink,    ///< blocks are shared until one of both is written to
  hard_link,  ///< files are shared: who writes to the copy writes to the original
  copy,
};

[[nodiscard]] std::string_view name_of(Method method);  ///< "reflink", "hardlink", ...

struct Progress {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
};

struct CopyOptions {
  /// In order of preference; a snapshot comes before all others. The first file with content
  /// decides which one is used, for all files of the tree; Errc::unsupported where none works.
  std::vector<Method> methods = {Method::reflink, Method::copy};
  unsigned jobs = 0;  ///< threads; 0: one for each processor, up to 8
  /// With `yes`, contents are hashed on the way: the manifest of the outcome has
  /// checksums, and a file that is not what the given manifest says is Errc::corrupt.
  Checksums checksums = Checksums::no;
  /// Called after a file, or some MiB of a large one, with what is done so far. Never by
  /// two threads at once, but by any.
  std::function<void(const Progress&)> progress;
};

struct Outcome {
  Method method = Method::copy;  ///< without any file with content: the first that was asked for
  std::string why_not;           ///< why those preferred to it were not used; empty: none was
  std::uint64_t bytes = 0;       ///< of the files that were copied
  std::uint64_t files = 0;
  /// Of the copy; with checksums where they were asked for or given.
  Manifest manifest;
};

/// Copies the tree `from_name` to `to_name`, which must not exist. What is copied is what
/// a scan finds.
[[nodiscard]] Result<Outcome> copy_tree(const lock::Directory& from, const std::string& from_name,
                                        const lock::Directory& to, const std::string& to_name,
                                        const CopyOptions& options = {});

/// As above, but what is copied is what the manifest lists, with the modes and times that it
/// gives. Errc::corrupt where the tree is not as it says.
[[nodiscard]] Result<Outcome> copy_tree(const lock::Directory& from, const std::string& from_name,
                                        const Manifest& manifest, const lock::Directory& to,
                                        const std::string& to_name,
                                        const CopyOptions& options = {});

}  // namespace cachectl::tree
