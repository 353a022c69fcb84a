// Archive: a tree as one stream of bytes, for the way to another machine.
//
//   offset size
//        0    8  magic "cctree 1"
//        8    8  size of the manifest, little-endian
//       16       the manifest (manifest.hpp), with checksums
//                the contents of its files, in its order, each as long as it says
//
// Not compressed: who sends it does that. Not tar: the manifest says all there is to say about a
// tree, is checked for paths that lead out of it, and its checksums find each byte that was lost.
// (libarchive, for tar, brings 13 libraries: a command that is linked with it starts in 3.0 ms
// where this one takes 2.0.) Holes in files become zeroes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lock/directory.hpp"
#include "src/checksum.hpp"
#include "src/tree/skeleton.hpp"

namespace cachectl::tree {

/// Sends the tree `name` in `parent` to `sink`, whose error ends it. `manifest` has the checksums
/// of all files. Errc::corrupt: the tree is not, or no longer, what it says.
[[nodiscard]] Result<void> pack(const lock::Directory& parent, const std::string& name,
                                const Manifest& manifest,
                                const std::function<Result<void>(lock::Bytes)>& sink);

/// Makes the tree `name` in `to`, which must outlive it and have nothing of that name, from what
/// comes in parts of any size. What was made stays after an error. One thread at a time.
class Unpacker {
 public:
  Unpacker(const lock::Directory& to, std::string name) : to_(&to), name_(std::move(name)) {}

  /// Errc::corrupt: it is no archive, or damaged.
  [[nodiscard]] Result<void> add(lock::Bytes data);
  /// Complete with all modes and times; its manifest. Errc::corrupt: something is missing.
  [[nodiscard]] Result<Manifest> finish();

 private:
  /// What is made once the manifest is known.
  struct Making {
    Manifest manifest;
    Parts parts;
    lock::Fd top;  ///< of a directory
    Cursor cursor;
    std::size_t next = 0;  ///< of parts.contents
    lock::Fd file;         ///< that is being filled
    std::uint64_t missing = 0;
    Checksum sum;
  };
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] Result<void> next_file();
  [[nodiscard]] Result<void> end_file();
  [[nodiscard]] const Item& item() const;
  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] tl::unexpected<Error> damaged(const std::string& why) const;

  const lock::Directory* to_;
  std::string name_;
  std::vector<std::byte> head_;
  std::optional<Making> making_;
};

}  // namespace cachectl::tree
