// RecordWriter: a record on its way to be published.
//
//   create --> append_output* --> append_errors* --> publish --> published
//      `---------------- destructor: rolled back ----------------'
//
// The value goes to a staged file as it comes, so its size is bounded by the disk and
// not by memory. The header is written last. Until publish returns, readers see the old
// value or none.
//
// Thread rules: one thread at a time; another may read what was flushed through
// descriptor().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lock/staged_file.hpp"
#include "src/checksum.hpp"
#include "src/key.hpp"
#include "src/store/record.hpp"
#include "src/store/root.hpp"

namespace cachectl::store {

/// Where a record goes.
enum class Place {
  entry,    ///< the key's value
  attempt,  ///< only for those who waited for it: a failure, or what is not to be stored
};

class RecordWriter {
 public:
  /// `root` must outlive it. `expected` is the durability that it will most likely be
  /// published with: with full, large values are sent to the disk while they come, so that
  /// the sync at the end finds little to do.
  [[nodiscard]] static Result<RecordWriter> create(
      const Root& root, const Key& key, lock::Durability expected = lock::Durability::full);

  [[nodiscard]] Result<void> append_output(lock::Bytes data);
  /// All output must have been appended before.
  [[nodiscard]] Result<void> append_errors(lock::Bytes data);
  /// Hands what was appended to the kernel, for readers of descriptor().
  [[nodiscard]] Result<void> flush();

  /// Writes the header, with sizes, key and checksum filled in, which is returned: for who reads
  /// descriptor() and publishes nothing here.
  [[nodiscard]] Result<RecordHeader> complete(RecordHeader header);

  /// Completes the record and gives it its name. Errors as of StagedFile::commit.
  [[nodiscard]] Result<void> publish(RecordHeader header, Place place, lock::Durability durability);

  /// Takes no more and is not published: gives the room of what it has back to the disk.
  void give_up() const;

  [[nodiscard]] int descriptor() const { return file_.descriptor(); }
  [[nodiscard]] std::uint64_t payload_offset() const { return RecordHeader::kSize + key_.size(); }
  [[nodiscard]] std::uint64_t output_size() const { return output_size_; }
  [[nodiscard]] const std::string& path() const { return file_.path(); }

 private:
  RecordWriter(const Root& root, std::unique_ptr<lock::Directory> staging, lock::StagedFile file,
               const Key& key);
  [[nodiscard]] Result<void> append(lock::Bytes data);
  [[nodiscard]] Result<void> write(lock::Bytes data);

  const Root* root_;
  std::unique_ptr<lock::Directory> staging_;  // before file_, which refers to it
  lock::StagedFile file_;
  std::string key_;
  KeyHash hash_;
  std::vector<std::byte> buffer_;  // what was appended and not yet flushed
  std::uint64_t flushed_ = 0;      // bytes of payload in the file
  std::uint64_t sent_ = 0;         // of these, on their way to the disk
  bool send_early_ = false;
  std::uint64_t output_size_ = 0;
  std::uint64_t error_size_ = 0;
  Checksum sum_;
};

}  // namespace cachectl::store
