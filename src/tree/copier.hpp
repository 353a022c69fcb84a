// Copier: puts items of a manifest from one tree into another. What copying a tree and
// updating one share.
//
// Calling sequence: directories, contents, links, finish; each with the items that are to be
// put there, in the order of the manifest. The directories above them have to be there and
// writable.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "src/tree/content.hpp"
#include "src/tree/copy.hpp"
#include "src/tree/cursor.hpp"
#include "src/tree/skeleton.hpp"

namespace cachectl::tree {

/// One of the two trees. A tree that is a file is a name in the directory it is in.
struct End {
  int top = -1;           ///< must stay open
  std::string where;      ///< for messages
  std::string file_name;  ///< of a tree that is a file; else empty
};

class Copier {
 public:
  /// `manifest` gets the checksums that are computed on the way. A snapshot is no way to copy a
  /// file, and not tried.
  Copier(End from, End to, Manifest& manifest, CopyOptions options);

  /// Files and symbolic links, complete with mode and time.
  [[nodiscard]] Result<void> fill(const Indexes& items);
  /// What the copy of one file needs, for each thread.
  struct Thread;

  [[nodiscard]] Method method() const;
  [[nodiscard]] const std::string& why_not() const { return why_not_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t files() const { return files_; }

 private:
  [[nodiscard]] Result<void> put(Thread& thread, Item& item);
  [[nodiscard]] Result<void> put_file(Thread& thread, Item& item);
  [[nodiscard]] Result<bool> share_file(Thread& thread, Item& item);
  [[nodiscard]] Result<void> clone_or_copy(Thread& thread, Item& item, std::size_t first_method);
  [[nodiscard]] Result<void> content(Thread& thread, Item& item, const Content& from, int to,
                                     std::size_t first_method);
  [[nodiscard]] Result<void> hash(Thread& thread, Item& item, const Content& from) const;
  [[nodiscard]] Result<void> take_checksum(const Thread& thread, Item& item,
                                           std::uint64_t checksum) const;
  /// A method did not work for this file, and why. Until the first file has decided, it is
  /// not tried again.
  void give_up(Method method, int error);
  /// What is to be said where no method that is allowed works.
  [[nodiscard]] Error none_works(const std::string& what) const;
  void report(std::uint64_t bytes, std::uint64_t files);

  [[nodiscard]] const std::string& from_path(const Item& item) const;
  [[nodiscard]] const std::string& to_path(const Item& item) const;

  End from_;
  End to_;
  Manifest& manifest_;
  CopyOptions options_;
  std::function<void(std::uint64_t)> moved_;

  std::size_t first_method_ = 0;  ///< of options_.methods; fixed once decided_
  bool decided_ = false;
  std::string why_not_;

  std::atomic<std::uint64_t> bytes_ = 0;
  std::atomic<std::uint64_t> files_ = 0;
  std::mutex progress_;
};

}  // namespace cachectl::tree
