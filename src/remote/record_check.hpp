// RecordCheck: whether the bytes of a record, as they come, are those of one key and version.
//
// Thread rules: one thread at a time.
#pragma once

#include <optional>

#include "src/checksum.hpp"
#include "src/key.hpp"
#include "src/remote/frame.hpp"
#include "src/store/record.hpp"

namespace cachectl::remote {

/// Whether a record has all of its value in it: that of a tree, as it lies on disk, has not.
[[nodiscard]] bool is_portable(const store::RecordHeader& header);

class RecordCheck {
 public:
  /// `key` must outlive it.
  RecordCheck(const Key& key, const Stamp& stamp, std::uint64_t size)
      : key_(&key), stamp_(stamp), size_(size) {}

  /// The first part must hold header and key. Errc::corrupt; Errc::format: a later version.
  [[nodiscard]] Result<void> add(lock::Bytes part);
  /// After all parts. Errc::corrupt.
  [[nodiscard]] Result<void> finish() const;

  /// After the first part.
  [[nodiscard]] const store::RecordHeader& header() const { return header_; }

 private:
  const Key* key_;
  Stamp stamp_;
  std::uint64_t size_;
  std::uint64_t seen_ = 0;
  store::RecordHeader header_;
  std::uint64_t first_sum_ = 0;  // of a record in one part
  std::optional<Checksum> sum_;  // of one in several
};

}  // namespace cachectl::remote
