// The record: one file that holds one generation of one key's value.
//
// All numbers are little-endian; times are nanoseconds since 1970 UTC.
//
//   offset size
//        0    8  magic "cachectl"
//        8    4  format version, 1
//       12    4  size of this header, 128
//       16    8  header checksum: XXH3-64 of header and key, with this field zero
//       24    8  payload checksum: XXH3-64 of the payload
//       32    8  generation
//       40    8  created
//       48    8  expires; 2^63 - 1: never
//       56    8  stale-while-revalidate, a duration in nanoseconds (RFC 5861)
//       64    8  stale-if-error, likewise
//       72    8  how long the source took, in nanoseconds
//       80    8  size of the output (standard output of the source, or the value set)
//       88    8  size of the errors (standard error of the source)
//       96    4  exit status of the source
//      100    4  kind: 0 bytes, 1 tree
//      104    4  size of the key
//      108    4  in attempts/: how many attempts in a row have failed, this one included
//      112    8  the generation in trees/ that is the value; 0 where kind is bytes
//      120    8  size of that tree, the sum of its files; 0 where kind is bytes
//      128       key, output, errors; and there the file ends
//
// Magic, version, header size, header checksum and key size lie there in every version
// to come. So a record of a later version (checksum right, version unknown) can be told
// from a damaged one (checksum wrong): the first is an error that names the version, the
// second a miss.
//
// The modification time of the file is its expiry, so that `ls` shows it and a clean-up
// need not open what has not expired. The header decides.
//
// Rejected: a text header (parsing costs more than the read, and binary keys need
// escapes); a checksum behind the payload (a reader would need a second read); separate
// files for value and metadata (two renames are not one commit); a checksum for each
// block (a reader verifies the whole value before the first byte leaves, so one does).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lock/fd.hpp"
#include "src/clock.hpp"
#include "src/key.hpp"

namespace cachectl::store {

/// Numbers that only go up, also over a deletion: see next_generation.
using Generation = std::uint64_t;

enum class Kind : std::uint32_t {
  bytes = 0,  ///< the output in the record
  tree = 1,   ///< a file or directory in trees/
};

struct RecordHeader {
  static constexpr std::size_t kSize = 128;
  /// The longest that a header of a later version may be.
  static constexpr std::size_t kLongest = 4096;
  static constexpr std::uint32_t kVersion = 1;

  std::uint64_t payload_checksum = 0;
  Generation generation = 0;
  WallTime created;
  WallTime expires = kNever;
  std::chrono::nanoseconds stale_while_revalidate{0};
  std::chrono::nanoseconds stale_if_error{0};
  std::chrono::nanoseconds source_duration{0};
  std::uint64_t output_size = 0;
  std::uint64_t error_size = 0;
  std::int32_t exit_status = 0;
  Kind kind = Kind::bytes;
  std::uint32_t key_size = 0;
  /// An older one than `generation` where the source has said "not modified" since.
  Generation tree_generation = 0;
  std::uint64_t tree_size = 0;
  std::uint32_t failures = 0;  ///< in a row, of an attempt

  /// What a person calls the size of it.
  [[nodiscard]] std::uint64_t value_size() const {
    return kind == Kind::tree ? tree_size : output_size;
  }
  [[nodiscard]] std::uint64_t payload_offset() const { return kSize + key_size; }
  [[nodiscard]] std::uint64_t file_size() const {
    return payload_offset() + output_size + error_size;
  }
  bool operator==(const RecordHeader&) const = default;
};

/// The header as it stands in the file, with its checksum over itself and `key`.
[[nodiscard]] std::array<std::byte, RecordHeader::kSize> encode(const RecordHeader& header,
                                                                std::string_view key);

/// Reads the header from the start of a record, `head`, which must hold header and key
/// if the file does. Errc::corrupt: damaged or no record at all. Errc::format: a record
/// of a version that this program does not know.
[[nodiscard]] Result<RecordHeader> decode_header(lock::Bytes head);

/// The key in `head`, after decode_header succeeded.
[[nodiscard]] std::string_view key_in(lock::Bytes head, const RecordHeader& header);

/// max(previous + 1, milliseconds since 1970): goes up by itself while the record of
/// the previous one exists, and by the clock after a deletion.
[[nodiscard]] Generation next_generation(Generation previous, WallTime now);

/// A record from the future (beyond 5 s of slack) was written by a clock that has been set
/// back since, so its expiry means nothing.
[[nodiscard]] bool is_from_future(const RecordHeader& header, WallTime now);

/// Whether the value may be served at `now` as it was stored. One from the future may not.
[[nodiscard]] bool is_fresh(const RecordHeader& header, WallTime now);

/// Of one that is not fresh: whether it may be served until it is made anew, by the window that
/// it was stored with.
[[nodiscard]] bool is_stale(const RecordHeader& header, WallTime now);

/// Whether nobody may serve it any more, stale windows included: a clean-up may take it.
[[nodiscard]] bool is_spent(const RecordHeader& header, WallTime now);

}  // namespace cachectl::store
