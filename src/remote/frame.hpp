// Frame: what stands before a record, or a part of one, under a name in Redis.
//
// All numbers are little-endian; the time is nanoseconds since 1970 UTC.
//
//   offset size
//        0    4  magic "cctl"
//        4    1  version, 1
//        5    1  form of the body: 0 raw, 1 zstd, 2 chunked
//        6    2  zero
//        8    8  size of what the body stands for, raw
//       16    8  created, as in the record
//       24    8  generation, as in the record
//       32    8  XXH3-64 of the frame up to here and of the XXH3-64 of the body
//       40       the body: those bytes; or a zstd frame of them; or 8 random bytes (chunked)
//
// A record of at most 8 MiB is the body under its own name, PREFIX{HASH}, HASH being the 32
// digits of the key's hash. A larger one is cut into chunks of 4 MiB, each framed like a small
// record, under PREFIX{HASH}:GENERATION-RANDOM:N (RANDOM in 16 digits, N from 0). They are
// written before the head that names them, so that nobody mixes two versions. The braces make
// all names of a record share a slot of a cluster.
//
// The publishing script reads `created` and `generation` here (fencing), so their places and
// the magic stay in every version. The checksum keeps damaged bytes away from the decompressor,
// which need not notice them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lock/fd.hpp"
#include "src/clock.hpp"
#include "src/store/record.hpp"

namespace cachectl::remote {

/// Which version of a value this is: the order in which they replace each other.
struct Stamp {
  WallTime created;
  store::Generation generation = 0;
  bool operator==(const Stamp&) const = default;
};

enum class Form : std::uint8_t { raw = 0, zstd = 1, chunked = 2 };

struct Frame {
  static constexpr std::size_t kSize = 40;
  static constexpr std::size_t kHeadSize = kSize + sizeof(std::uint64_t);  ///< of a chunked one
  static constexpr std::uint64_t kLargestWhole = std::uint64_t{8} << 20U;
  static constexpr std::uint64_t kChunk = std::uint64_t{4} << 20U;

  Form form = Form::raw;
  std::uint64_t raw_size = 0;
  Stamp stamp;
  std::uint64_t random = 0;  ///< of a chunked one

  [[nodiscard]] std::uint64_t chunks() const { return (raw_size + kChunk - 1) / kChunk; }
};

/// A time as it stands in a frame.
[[nodiscard]] std::string bytes_of(WallTime time);
[[nodiscard]] WallTime time_in(std::string_view bytes);

/// The version that a frame is of, by its first kSize bytes; nullopt: it is none of ours. Whether
/// it is damaged is not looked at.
[[nodiscard]] std::optional<Stamp> stamp_in(std::string_view frame);

/// Frame and body. Compressed if that is more than `compress_above` bytes and saves a tenth.
[[nodiscard]] std::string framed(const Stamp& stamp, lock::Bytes raw, std::uint64_t compress_above);

/// The head of a record in chunks.
[[nodiscard]] std::string framed_head(const Stamp& stamp, std::uint64_t raw_size,
                                      std::uint64_t random);

/// Errc::corrupt: this is not what framed or framed_head made.
[[nodiscard]] Result<Frame> parse_frame(std::string_view value);

/// The raw bytes of a value that parse_frame took and that is not chunked; they lie in `value`
/// or in `room`. Errc::corrupt.
[[nodiscard]] Result<lock::Bytes> raw_bytes(const Frame& frame, std::string_view value,
                                            std::vector<std::byte>& room);

}  // namespace cachectl::remote
