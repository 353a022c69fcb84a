// Manifest: what a tree consists of, item for item, as data and as text.
//
// A tree is one regular file, or a directory with all below it. A manifest is enough to
// verify a tree, to copy it without walking it, and to tell what differs between two.
//
// Kept: names (any bytes), types, the 07777 bits of modes, modification times, contents,
// targets of symbolic links, and which names are the same file. Not kept: owner and group
// (a copy belongs to whoever makes it), extended attributes and access control lists, and
// times other than the modification's. Devices, sockets and FIFOs are refused.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lock/result.hpp"

namespace cachectl::tree {

/// A time as the file system keeps it: further from today, and finer, than a WallTime. The
/// nanoseconds count up from the second also before 1970.
struct FileTime {
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;

  [[nodiscard]] static FileTime of(const timespec& time) { return {time.tv_sec, time.tv_nsec}; }
  [[nodiscard]] timespec as_timespec() const;
  auto operator<=>(const FileTime&) const = default;  // NOLINT(modernize-use-nullptr)
};

enum class Type : char {
  file = 'f',
  directory = 'd',
  symlink = 'l',
  hard_link = 'h',  ///< another name of a file that is an item before this one
};

struct Item {
  std::string path;  ///< below the tree, "bin/tool"; the tree itself: empty
  Type type = Type::file;
  mode_t mode = 0;         ///< the 07777 bits; of the file for a hard link, 0777 for a symlink
  FileTime modified;       ///< of the file for a hard link
  std::uint64_t size = 0;  ///< of a file, and of the file for a hard link; else 0
  std::optional<std::uint64_t> checksum;  ///< XXH3-64 of a file, where it was asked for
  std::string target;  ///< of a symlink: its text; of a hard link: path of the first name

  bool operator==(const Item&) const = default;
};

/// The order of items: a directory right before all that is below it, whatever bytes names
/// contain ('/' sorts before every other byte).
[[nodiscard]] bool path_less(std::string_view left, std::string_view right);

/// "a/b" of "a/b/c"; empty for a name directly below the tree.
[[nodiscard]] std::string_view parent_of(std::string_view path);
/// "c" of "a/b/c".
[[nodiscard]] std::string_view name_of(std::string_view path);

/// Deeper trees are refused with Errc::refused: no build makes them, and each access would
/// cost that many lookups.
inline constexpr std::size_t kDeepest = 4000;

struct Manifest {
  /// Sorted by path_less; the first is the tree itself, with an empty path.
  std::vector<Item> items;

  [[nodiscard]] const Item* find(std::string_view path) const;
  /// Sum of the sizes of all files; one that has several names counts once.
  [[nodiscard]] std::uint64_t bytes() const;
  /// How many regular files there are; one that has several names counts once.
  [[nodiscard]] std::uint64_t files() const;

  bool operator==(const Manifest&) const = default;
};

/// Errc::corrupt when the items are not those of a tree: not sorted, a parent that is
/// missing or no directory, "..", a hard link to what is no file. Encoding and copying
/// start with it, so that no manifest leads out of its tree.
[[nodiscard]] Result<void> check(const Manifest& manifest, std::string_view what);

/// The text; see manifest.cpp for the format.
[[nodiscard]] std::string encode(const Manifest& manifest);

/// Errc::corrupt for every damage, Errc::format for a later version. `what` names the
/// source in the error.
[[nodiscard]] Result<Manifest> decode_manifest(std::string_view text, std::string_view what);

}  // namespace cachectl::tree
