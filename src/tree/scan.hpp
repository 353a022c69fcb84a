// Scanning: what a tree consists of, whether it is as its manifest says, and what was
// changed in it since.
//
// All access is by descriptor, one name at a time, and follows no symbolic link: whatever
// somebody does to the tree meanwhile, nothing outside it is read. A tree that changes
// meanwhile may give a mixture, or an error; never a crash.
//
// Errors name the item: Errc::permission for what cannot be read, Errc::refused for
// devices, sockets, FIFOs, and for trees too deep.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lock/directory.hpp"
#include "src/tree/manifest.hpp"

namespace cachectl::tree {

/// What tells cheaply whether an item was changed. ctime cannot be set by anybody, so that
/// a change with the old size and time put back is seen too.
struct Stamp {
  std::string path;  ///< as in Item
  mode_t mode = 0;   ///< with the type
  std::uint64_t size = 0;
  std::uint64_t inode = 0;
  FileTime modified;
  FileTime changed;

  bool operator==(const Stamp&) const = default;
};

/// The stamps of a tree at one moment, sorted by path_less. Valid for that tree at that
/// place on that file system: a copy has other inodes. Changes during the clock tick in
/// which it was taken are seen as well: taking it waits until that tick has passed (4 ms).
struct Snapshot {
  std::vector<Stamp> stamps;

  bool operator==(const Snapshot&) const = default;
};

[[nodiscard]] std::string encode(const Snapshot& snapshot);
/// As decode_manifest.
[[nodiscard]] Result<Snapshot> decode_snapshot(std::string_view text, std::string_view what);

enum class Checksums { no, yes };

struct ScanOptions {
  Checksums checksums = Checksums::yes;
  unsigned jobs = 0;  ///< threads that read; 0: one for each processor, up to 8
};

struct Scan {
  Manifest manifest;
  Snapshot snapshot;
};

/// Walks the tree `name` in `parent`. Without checksums no file is opened.
[[nodiscard]] Result<Scan> scan(const lock::Directory& parent, const std::string& name,
                                const ScanOptions& options = {});

/// What a scan without checksums finds, for the time after a copy.
[[nodiscard]] Result<Snapshot> take_snapshot(const lock::Directory& parent,
                                             const std::string& name);

enum class Difference {
  missing,
  extra,
  type,
  content,
  mode,
  modified,  ///< the modification time
  target,    ///< of a symbolic link
  links,     ///< it is, or is no longer, the same file as another
};

struct Deviation {
  std::string path;
  Difference difference = Difference::missing;

  bool operator==(const Deviation&) const = default;
};

[[nodiscard]] std::string_view name_of(Difference difference);

/// How the tree deviates from the manifest; empty: in nothing. Contents are read where the
/// manifest has checksums and `options` asks for them; else the size is compared. A tree
/// that is not there is one deviation: missing, with an empty path.
[[nodiscard]] Result<std::vector<Deviation>> verify(const lock::Directory& parent,
                                                    const std::string& name,
                                                    const Manifest& manifest,
                                                    const ScanOptions& options = {});

enum class Change {
  removed,
  added,
  changed,  ///< content, mode, time or type: one look does not tell which
};

struct Changed {
  std::string path;
  Change change = Change::changed;

  bool operator==(const Changed&) const = default;
};

/// What was changed in the tree since the snapshot was taken, sorted by path_less, at the
/// cost of one lstat an item. A directory in which names came or went is changed too, and
/// so is a file that got another name. Nothing is refused: a FIFO is an item that was added.
[[nodiscard]] Result<std::vector<Changed>> changed_since(const lock::Directory& parent,
                                                         const std::string& name,
                                                         const Snapshot& snapshot);

}  // namespace cachectl::tree
