#include "src/store/record.hpp"

#include <catch2/catch.hpp>

#include "tests/store/fixture.hpp"

namespace cachectl::store {

using std::chrono::nanoseconds;
using std::chrono::seconds;

namespace {

RecordHeader full_header(std::string_view key) {
  RecordHeader header;
  header.payload_checksum = 0x0123456789ABCDEFU;
  header.generation = 1'700'000'000'123U;
  header.created = WallTime(seconds(1'700'000'000));
  header.expires = WallTime(seconds(1'700'000'060) + nanoseconds(1));
  header.stale_while_revalidate = seconds(7);
  header.stale_if_error = seconds(8);
  header.source_duration = nanoseconds(123'456'789);
  header.output_size = std::uint64_t{5} << 32U;
  header.error_size = 77;
  header.exit_status = 143;
  header.kind = Kind::tree;
  header.tree_generation = 1'700'000'000'120U;
  header.tree_size = std::uint64_t{9} << 33U;
  header.key_size = static_cast<std::uint32_t>(key.size());
  return header;
}

std::string record_start(const RecordHeader& header, std::string_view key) {
  const auto bytes = encode(header, key);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) + std::string(key);
}

constexpr WallTime kNoon{seconds(1'700'000'000)};

RecordHeader lasting(nanoseconds created_after_noon, nanoseconds ttl) {
  RecordHeader header;
  header.created = kNoon + created_after_noon;
  header.expires = later(header.created, ttl);
  return header;
}

}  // namespace

TEST_CASE("record: what is encoded is decoded, each field and the key") {
  const std::string key("k\0\n\xff", 4);
  const auto header = full_header(key);
  const auto bytes = record_start(header, key);
  const auto decoded = decode_header(lock::bytes_of(bytes));
  REQUIRE(decoded);
  CHECK(*decoded == header);
  CHECK(key_in(lock::bytes_of(bytes), *decoded) == key);
  CHECK(decoded->file_size() == 128 + 4 + (std::uint64_t{5} << 32U) + 77);
}

TEST_CASE("record: the fixed part lies where the format says, in every version") {
  const auto bytes = record_start(full_header("key"), "key");
  CHECK(bytes.substr(0, 8) == "cachectl");
  CHECK(bytes.substr(8, 8) == std::string("\1\0\0\0\x80\0\0\0", 8));
  CHECK(bytes.substr(104, 4) == std::string("\3\0\0\0", 4));
  CHECK(bytes.substr(108, 4) == std::string(4, '\0'));
}

TEST_CASE("record: a header cut off at any length is corrupt") {
  const auto bytes = record_start(full_header("some key"), "some key");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto decoded = decode_header(lock::bytes_of(std::string_view(bytes).substr(0, size)));
    REQUIRE_FALSE(decoded);
    REQUIRE(decoded.error().code == Errc::corrupt);
  }
}

TEST_CASE("record: a header with any bit turned over is corrupt, never another header") {
  const auto bytes = record_start(full_header("some key"), "some key");
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto decoded = decode_header(lock::bytes_of(damaged));
    REQUIRE_FALSE(decoded);
    REQUIRE(decoded.error().code == Errc::corrupt);
  }
}

TEST_CASE("record: an unknown version with a right checksum is an error that names it") {
  const auto bytes = test::with_version(record_start(full_header("key"), "key"), 7);
  const auto decoded = decode_header(lock::bytes_of(bytes));
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().code == Errc::format);
  CHECK_THAT(decoded.error().describe(), Catch::Contains("version 7"));
}

TEST_CASE("generation: goes up with the clock, and by one where the clock does not") {
  const auto now = WallTime(std::chrono::milliseconds(1'700'000'000'123));
  CHECK(next_generation(0, now) == 1'700'000'000'123U);
  CHECK(next_generation(5, now) == 1'700'000'000'123U);
  CHECK(next_generation(1'700'000'000'123U, now) == 1'700'000'000'124U);
  CHECK(next_generation(1'700'000'009'999U, now) == 1'700'000'010'000U);
  CHECK(next_generation(0, WallTime(seconds(-5))) == 1);
}

TEST_CASE("freshness: a value is fresh until the nanosecond at which it expires") {
  const auto header = lasting(seconds(0), seconds(60));
  CHECK(is_fresh(header, kNoon));
  CHECK(is_fresh(header, kNoon + seconds(60) - nanoseconds(1)));
  CHECK_FALSE(is_fresh(header, kNoon + seconds(60)));
  CHECK_FALSE(is_spent(header, kNoon + seconds(60) - nanoseconds(1)));
  CHECK(is_spent(header, kNoon + seconds(60)));
}

TEST_CASE("freshness: a value without a lifetime is never fresh") {
  CHECK_FALSE(is_fresh(lasting(seconds(0), seconds(0)), kNoon));
  CHECK_FALSE(is_fresh(lasting(seconds(0), seconds(-1)), kNoon));
}

TEST_CASE("freshness: what never expires is fresh at the end of time, and not spent") {
  const auto header = lasting(seconds(0), nanoseconds::max());
  CHECK(header.expires == kNever);
  CHECK(is_fresh(header, kNever - nanoseconds(1)));
  CHECK_FALSE(is_spent(header, kNever - nanoseconds(1)));
}

TEST_CASE("freshness: a value from the future is fresh within five seconds and not beyond") {
  CHECK(is_fresh(lasting(seconds(5), seconds(60)), kNoon));
  CHECK_FALSE(is_fresh(lasting(seconds(5) + nanoseconds(1), seconds(60)), kNoon));
  CHECK_FALSE(is_fresh(lasting(seconds(6), nanoseconds::max()), kNoon));
}

TEST_CASE("freshness: stale windows keep a record from the clean-up, not fresh") {
  auto header = lasting(seconds(0), seconds(60));
  header.stale_while_revalidate = seconds(5);
  header.stale_if_error = seconds(30);
  CHECK_FALSE(is_fresh(header, kNoon + seconds(61)));
  CHECK_FALSE(is_spent(header, kNoon + seconds(90) - nanoseconds(1)));
  CHECK(is_spent(header, kNoon + seconds(90)));
}

TEST_CASE("later: additions that cannot be represented end at never") {
  CHECK(later(kNoon, nanoseconds::max()) == kNever);
  CHECK(later(kNever, nanoseconds(1)) == kNever);
  CHECK(later(kNever, nanoseconds(0)) == kNever);
  CHECK(later(WallTime(nanoseconds(-1)), nanoseconds::max()) < kNever);
  CHECK(later(kNoon, seconds(1)) == kNoon + seconds(1));
}

}  // namespace cachectl::store
