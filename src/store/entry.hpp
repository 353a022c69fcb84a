// Entry: an open record, read from one descriptor.
//
// Lock-free: the record is opened once, and whatever replaces or removes its name
// afterwards, this descriptor keeps showing the same generation. Nothing here waits for
// a writer.
//
// Header and key are checked when it is opened. The payload is checked before its first
// byte leaves: at once where it came with the first read, else by verify(), which reads
// all of it once. Only write_verified may let bytes leave earlier, where it can take them
// back.
//
// Thread rules: an Entry belongs to one thread at a time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lock/directory.hpp"
#include "src/store/record.hpp"

namespace cachectl::store {

/// Which of the two streams of a value.
enum class Stream { output, errors };

struct Lookup;

/// What the caller is after; decides how much the first read takes.
enum class Want {
  value,
  header,  ///< and nothing else
  look,    ///< the value, by somebody who does not use it
};

class Entry {
 public:
  [[nodiscard]] const RecordHeader& header() const { return header_; }
  [[nodiscard]] std::string_view key() const { return key_in(head_, header_); }
  /// When it was last read or written, as far as the file system tells.
  [[nodiscard]] WallTime last_used() const { return last_used_; }
  /// Notes a use, also where the file system does not by itself (noatime). As far as it can.
  void touch(WallTime now) const;

  /// Errc::corrupt when the payload is not what was stored. Asked once, remembered.
  [[nodiscard]] Result<void> verify();

  /// Writes one stream to a descriptor. Call verify() first.
  [[nodiscard]] Result<void> write_to(int descriptor, Stream stream, std::string_view what) const;

  /// verify() and write_to() in one. A large value that goes to the end of a regular file
  /// is verified while it is copied, and cut off again when it turns out to be damaged;
  /// elsewhere no byte leaves before all are verified.
  [[nodiscard]] Result<void> write_verified(int descriptor, Stream stream, std::string_view what);

  /// Passes one stream to `take`, block by block. Call verify() first.
  using Take = std::function<Result<void>(lock::Bytes)>;
  [[nodiscard]] Result<void> each_block(Stream stream, const Take& take) const;

  /// One stream as a string. Call verify() first.
  [[nodiscard]] Result<std::string> read(Stream stream) const;

 private:
  friend Result<Lookup> open_record(const lock::Directory&, const std::string&, const Key*, Want);
  Entry(lock::Fd file, std::string path, std::vector<std::byte> head, RecordHeader header,
        WallTime last_used);

  [[nodiscard]] bool all_in_head() const { return head_.size() == header_.file_size(); }
  [[nodiscard]] Result<std::uint64_t> payload_sum() const;

  lock::Fd file_;
  std::string path_;
  std::vector<std::byte> head_;  // the start of the file, or all of it when it is small
  RecordHeader header_;
  WallTime last_used_;
  bool verified_ = false;
};

/// What was found under a name: an entry, nothing, or something that is no entry.
struct Lookup {
  std::optional<Entry> entry;
  /// Why there is a file but no entry: damaged, foreign, another key's. A miss with a
  /// warning.
  std::optional<Error> defect;
};

/// Opens the record at `path` below `root`. With `expected`, a record of another key is
/// a miss. Errors are I/O errors, and Errc::format for a version that we do not know.
/// Only wanting the value counts as use.
[[nodiscard]] Result<Lookup> open_record(const lock::Directory& root, const std::string& path,
                                         const Key* expected, Want want = Want::value);

}  // namespace cachectl::store
