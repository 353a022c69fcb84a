#include "src/store/record.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "src/checksum.hpp"

namespace cachectl::store {

namespace {

static_assert(std::endian::native == std::endian::little,
              "the record is little-endian: swap bytes in Field on this machine");

constexpr std::string_view kMagic = "cachectl";

/// Where each field lies; the one place that knows offsets.
template <typename Number>
struct Field {
  std::size_t offset;

  [[nodiscard]] Number get(lock::Bytes from) const {
    Number value;
    std::memcpy(&value, from.data() + offset, sizeof value);
    return value;
  }
  void put(std::span<std::byte> into, Number value) const {
    std::memcpy(into.data() + offset, &value, sizeof value);
  }
};

constexpr Field<std::uint32_t> kVersionField{8};
constexpr Field<std::uint32_t> kHeaderSize{12};
constexpr Field<std::uint64_t> kHeaderChecksum{16};
constexpr Field<std::uint64_t> kPayloadChecksum{24};
constexpr Field<std::uint64_t> kGeneration{32};
constexpr Field<std::int64_t> kCreated{40};
constexpr Field<std::int64_t> kExpires{48};
constexpr Field<std::int64_t> kStaleWhileRevalidate{56};
constexpr Field<std::int64_t> kStaleIfError{64};
constexpr Field<std::int64_t> kSourceDuration{72};
constexpr Field<std::uint64_t> kOutputSize{80};
constexpr Field<std::uint64_t> kErrorSize{88};
constexpr Field<std::int32_t> kExitStatus{96};
constexpr Field<std::uint32_t> kKind{100};
constexpr Field<std::uint32_t> kKeySize{104};
constexpr Field<std::uint32_t> kFailures{108};
constexpr Field<std::uint64_t> kTreeGeneration{112};
constexpr Field<std::uint64_t> kTreeSize{120};

constexpr std::uint64_t kLargestPayload = std::uint64_t{1} << 60U;
constexpr std::chrono::seconds kSlack{5};

/// XXH3-64 of header and key, the checksum field counting as zero.
std::uint64_t header_checksum(lock::Bytes header, lock::Bytes key) {
  constexpr std::array<std::byte, 8> kZero{};
  // In one piece, where that is small: the state of a running checksum costs more to set up.
  std::array<std::byte, 512> whole;  // NOLINT(*-member-init): filled as far as it is read
  if (header.size() + key.size() <= whole.size()) {
    std::memcpy(whole.data(), header.data(), header.size());
    std::memcpy(whole.data() + kHeaderChecksum.offset, kZero.data(), kZero.size());
    std::memcpy(whole.data() + header.size(), key.data(), key.size());
    return checksum_of(std::span(whole).first(header.size() + key.size()));
  }
  Checksum sum;
  sum.add(header.first(kHeaderChecksum.offset));
  sum.add(kZero);
  sum.add(header.subspan(kHeaderChecksum.offset + kZero.size()));
  sum.add(key);
  return sum.value();
}

tl::unexpected<Error> corrupt(std::string why) { return fail(Errc::corrupt, std::move(why)); }

/// Checks the part of the header that is the same in all versions; returns the version.
Result<std::uint32_t> decode_common(lock::Bytes head) {
  if (head.size() < RecordHeader::kSize) return corrupt("shorter than a record's header");
  if (std::memcmp(head.data(), kMagic.data(), kMagic.size()) != 0) return corrupt("not a record");
  const std::size_t header_size = kHeaderSize.get(head);
  const std::size_t key_size = kKeySize.get(head);
  if (header_size < RecordHeader::kSize || header_size > RecordHeader::kLongest ||
      key_size > Key::kLongest || head.size() < header_size + key_size) {
    return corrupt("header damaged or cut off");
  }
  const auto sum = header_checksum(head.first(header_size), head.subspan(header_size, key_size));
  if (sum != kHeaderChecksum.get(head)) return corrupt("checksum of the header does not match");
  return kVersionField.get(head);
}

}  // namespace

std::array<std::byte, RecordHeader::kSize> encode(const RecordHeader& header,
                                                  std::string_view key) {
  std::array<std::byte, RecordHeader::kSize> bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  kVersionField.put(bytes, RecordHeader::kVersion);
  kHeaderSize.put(bytes, RecordHeader::kSize);
  kPayloadChecksum.put(bytes, header.payload_checksum);
  kGeneration.put(bytes, header.generation);
  kCreated.put(bytes, header.created.time_since_epoch().count());
  kExpires.put(bytes, header.expires.time_since_epoch().count());
  kStaleWhileRevalidate.put(bytes, header.stale_while_revalidate.count());
  kStaleIfError.put(bytes, header.stale_if_error.count());
  kSourceDuration.put(bytes, header.source_duration.count());
  kOutputSize.put(bytes, header.output_size);
  kErrorSize.put(bytes, header.error_size);
  kExitStatus.put(bytes, header.exit_status);
  kKind.put(bytes, static_cast<std::uint32_t>(header.kind));
  kKeySize.put(bytes, static_cast<std::uint32_t>(key.size()));
  kFailures.put(bytes, header.failures);
  kTreeGeneration.put(bytes, header.tree_generation);
  kTreeSize.put(bytes, header.tree_size);
  kHeaderChecksum.put(bytes, header_checksum(bytes, lock::bytes_of(key)));
  return bytes;
}

Result<RecordHeader> decode_header(lock::Bytes head) {
  CACHECTL_ASSIGN(const std::uint32_t version, decode_common(head));
  if (version != RecordHeader::kVersion) {
    return fail(Errc::format,
                "record of format version " + std::to_string(version) +
                    "; this cachectl knows version " + std::to_string(RecordHeader::kVersion),
                "use the newer cachectl, or another root");
  }
  using std::chrono::nanoseconds;
  RecordHeader header;
  header.payload_checksum = kPayloadChecksum.get(head);
  header.generation = kGeneration.get(head);
  header.created = WallTime(nanoseconds(kCreated.get(head)));
  header.expires = WallTime(nanoseconds(kExpires.get(head)));
  header.stale_while_revalidate = nanoseconds(kStaleWhileRevalidate.get(head));
  header.stale_if_error = nanoseconds(kStaleIfError.get(head));
  header.source_duration = nanoseconds(kSourceDuration.get(head));
  header.output_size = kOutputSize.get(head);
  header.error_size = kErrorSize.get(head);
  header.exit_status = kExitStatus.get(head);
  header.kind = static_cast<Kind>(kKind.get(head));
  header.key_size = kKeySize.get(head);
  header.failures = kFailures.get(head);
  header.tree_generation = kTreeGeneration.get(head);
  header.tree_size = kTreeSize.get(head);
  // The checksum was right, so these were written; but not by a program of this version.
  if (kHeaderSize.get(head) != RecordHeader::kSize ||
      (header.kind != Kind::bytes && header.kind != Kind::tree) ||
      (header.kind == Kind::tree) != (header.tree_generation != 0) ||
      header.output_size > kLargestPayload || header.error_size > kLargestPayload) {
    return corrupt("header says what no record says");
  }
  return header;
}

std::string_view key_in(lock::Bytes head, const RecordHeader& header) {
  const auto key = head.subspan(RecordHeader::kSize, header.key_size);
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

Generation next_generation(Generation previous, WallTime now) {
  const auto milliseconds =
      std::chrono::floor<std::chrono::milliseconds>(now).time_since_epoch().count();
  return std::max(previous + 1, static_cast<Generation>(std::max<std::int64_t>(milliseconds, 1)));
}

bool is_from_future(const RecordHeader& header, WallTime now) {
  return header.created > later(now, kSlack);
}

bool is_fresh(const RecordHeader& header, WallTime now) {
  return now < header.expires && !is_from_future(header, now);
}

bool is_stale(const RecordHeader& header, WallTime now) {
  return !is_from_future(header, now) && now < later(header.expires, header.stale_while_revalidate);
}

bool is_spent(const RecordHeader& header, WallTime now) {
  return now >=
         later(header.expires, std::max(header.stale_while_revalidate, header.stale_if_error));
}

}  // namespace cachectl::store
