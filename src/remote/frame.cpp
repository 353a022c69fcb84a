#include "src/remote/frame.hpp"

#include <zstd.h>

#include <array>
#include <bit>
#include <cstring>

#include "src/checksum.hpp"

namespace cachectl::remote {

namespace {

static_assert(std::endian::native == std::endian::little,
              "the frame is little-endian: swap bytes in put and get on this machine");

constexpr std::string_view kFrameMagic("cctl\1", 5);
constexpr std::size_t kFormAt = 5;
constexpr std::size_t kZeroAt = 6;
constexpr std::size_t kRawSizeAt = 8;
constexpr std::size_t kCreatedAt = 16;
constexpr std::size_t kGenerationAt = 24;
constexpr std::size_t kSumAt = 32;

/// The fastest of the usual ones: a refresh waits for it.
constexpr int kLevel = 1;

template <typename Number>
void put(std::string& value, std::size_t offset, Number number) {
  std::memcpy(value.data() + offset, &number, sizeof number);
}

template <typename Number>
Number get(std::string_view value, std::size_t offset) {
  Number number;
  std::memcpy(&number, value.data() + offset, sizeof number);
  return number;
}

/// Of the frame's first 32 bytes and the checksum of the body. Both are small or in one piece, so
/// that neither needs the state of a running checksum.
std::uint64_t sum_of(std::string_view value) {
  std::array<std::byte, kSumAt + sizeof(std::uint64_t)> whole{};
  const auto body = checksum_of(lock::bytes_of(value.substr(Frame::kSize)));
  std::memcpy(whole.data(), value.data(), kSumAt);
  std::memcpy(whole.data() + kSumAt, &body, sizeof body);
  return checksum_of(whole);
}

/// `value` has room for the frame, and the body behind it.
void seal(std::string& value, Form form, const Stamp& stamp, std::uint64_t raw_size) {
  value.replace(0, kFrameMagic.size(), kFrameMagic);
  put(value, kFormAt, static_cast<std::uint8_t>(form));
  put(value, kZeroAt, std::uint16_t{0});
  put(value, kRawSizeAt, raw_size);
  put(value, kCreatedAt, std::int64_t{stamp.created.time_since_epoch().count()});
  put(value, kGenerationAt, stamp.generation);
  put(value, kSumAt, sum_of(value));
}

tl::unexpected<Error> damaged(std::string_view why) {
  return fail(Errc::corrupt, std::string(why));
}

}  // namespace

std::string bytes_of(WallTime time) {
  std::string bytes(sizeof(std::int64_t), '\0');
  put(bytes, 0, std::int64_t{time.time_since_epoch().count()});
  return bytes;
}

WallTime time_in(std::string_view bytes) {
  return WallTime(std::chrono::nanoseconds(get<std::int64_t>(bytes, 0)));
}

std::optional<Stamp> stamp_in(std::string_view frame) {
  if (frame.size() < Frame::kSize || !frame.starts_with(kFrameMagic)) return std::nullopt;
  return Stamp{time_in(frame.substr(kCreatedAt)), get<std::uint64_t>(frame, kGenerationAt)};
}

std::string framed(const Stamp& stamp, lock::Bytes raw, std::uint64_t compress_above) {
  std::string value;
  if (raw.size() > compress_above) {
    // No more room than what is worth it: it fails early where the bytes do not compress.
    const auto room = raw.size() - raw.size() / 10;
    value.resize(Frame::kSize + room);
    const auto size =
        ::ZSTD_compress(value.data() + Frame::kSize, room, raw.data(), raw.size(), kLevel);
    if (::ZSTD_isError(size) == 0) {
      value.resize(Frame::kSize + size);
      seal(value, Form::zstd, stamp, raw.size());
      return value;
    }
  }
  value.resize(Frame::kSize);
  value.reserve(Frame::kSize + raw.size());
  value.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  seal(value, Form::raw, stamp, raw.size());
  return value;
}

std::string framed_head(const Stamp& stamp, std::uint64_t raw_size, std::uint64_t random) {
  std::string value(Frame::kHeadSize, '\0');
  put(value, Frame::kSize, random);
  seal(value, Form::chunked, stamp, raw_size);
  return value;
}

Result<Frame> parse_frame(std::string_view value) {
  if (value.size() < Frame::kSize || !value.starts_with(kFrameMagic)) {
    return damaged("it does not begin as our values do");
  }
  if (get<std::uint64_t>(value, kSumAt) != sum_of(value)) return damaged("its checksum is wrong");
  Frame frame;
  const auto form = get<std::uint8_t>(value, kFormAt);
  frame.form = static_cast<Form>(form);
  frame.raw_size = get<std::uint64_t>(value, kRawSizeAt);
  frame.stamp = *stamp_in(value);
  const bool is_head = frame.form == Form::chunked;
  if (form > static_cast<std::uint8_t>(Form::chunked) || get<std::uint16_t>(value, kZeroAt) != 0 ||
      (is_head ? value.size() != Frame::kHeadSize : frame.raw_size > Frame::kLargestWhole)) {
    return damaged("its frame is not one of ours");
  }
  if (is_head) frame.random = get<std::uint64_t>(value, Frame::kSize);
  return frame;
}

Result<lock::Bytes> raw_bytes(const Frame& frame, std::string_view value,
                              std::vector<std::byte>& room) {
  const auto body = lock::bytes_of(value.substr(Frame::kSize));
  if (frame.form == Form::raw) {
    if (body.size() != frame.raw_size) return damaged("its size is not what its frame says");
    return body;
  }
  room.resize(frame.raw_size);
  const auto size = ::ZSTD_decompress(room.data(), room.size(), body.data(), body.size());
  if (::ZSTD_isError(size) != 0 || size != frame.raw_size) {
    return damaged("it cannot be decompressed");
  }
  return lock::Bytes(room);
}

}  // namespace cachectl::remote
