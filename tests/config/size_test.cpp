#include "src/config/size.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace cachectl::config {

TEST_CASE("size: plain bytes and powers of 1024 are read") {
  const std::vector<std::pair<std::string, std::uint64_t>> table{
      {"0", 0},
      {"1", 1},
      {"512", 512},
      {"512B", 512},
      {"10K", 10240},
      {"10k", 10240},
      {"10KiB", 10240},
      {"5M", 5242880},
      {"5MiB", 5242880},
      {"2G", 2147483648},
      {"1T", 1099511627776},
      {"0T", 0},
      {"unlimited", unlimited},
  };
  for (const auto& [text, expected] : table) {
    CAPTURE(text);
    const auto parsed = parse_size(text);
    REQUIRE(parsed);
    CHECK(*parsed == expected);
  }
}

TEST_CASE("size: what is not a size is refused with an example") {
  for (const std::string text : {"", "K", "-1", "+1", "1.5M", "10KB", "10MB", "10 K", " 10", "10K ",
                                 "10X", "10P", "10Ki", "10KiBs", "1K1", "never", "0x10", "\xff"}) {
    CAPTURE(text);
    const auto parsed = parse_size(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::usage);
    CHECK(parsed.error().advice.find("10K") != std::string::npos);
  }
}

TEST_CASE("size: the largest size is read and one more of each unit is refused") {
  // 2^64 - 1 is `unlimited` itself.
  const std::vector<std::pair<std::string, std::string>> table{
      {"18446744073709551614", "18446744073709551615"},
      {"18014398509481983K", "18014398509481984K"},
      {"17592186044415M", "17592186044416M"},
      {"17179869183G", "17179869184G"},
      {"16777215T", "16777216T"},
      {"0", "18446744073709551616"},
      {"0", "99999999999999999999999T"},
  };
  for (const auto& [largest, larger] : table) {
    CAPTURE(largest, larger);
    CHECK(parse_size(largest));
    const auto refused = parse_size(larger);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().advice == "write unlimited");
  }
}

TEST_CASE("count: whole numbers and unlimited are read, everything else is refused") {
  CHECK(parse_count("0").value() == 0);
  CHECK(parse_count("100000").value() == 100000);
  CHECK(parse_count("18446744073709551614").value() == unlimited - 1);
  CHECK(parse_count("unlimited").value() == unlimited);
  for (const std::string text :
       {"", "-1", "1.5", "10K", " 1", "many", "18446744073709551615", "18446744073709551616"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_count(text));
  }
}

TEST_CASE("size: people read one decimal at most") {
  const std::vector<std::pair<std::uint64_t, std::string>> table{
      {0, "0 B"},
      {1023, "1023 B"},
      {1024, "1 KiB"},
      {1536, "1.5 KiB"},
      {1024 * 1024 - 1, "1023.9 KiB"},
      {1572864, "1.5 MiB"},
      {std::uint64_t{1} << 30U, "1 GiB"},
      {std::uint64_t{1} << 40U, "1 TiB"},
      {std::uint64_t{1} << 52U, "4096 TiB"},
      {unlimited - 1, "16777215.9 TiB"},
      {unlimited, "unlimited"},
  };
  for (const auto& [bytes, expected] : table) CHECK(format_size(bytes) == expected);
}

TEST_CASE("size: the exact form is read back as the same size") {
  for (const std::uint64_t bytes :
       std::vector<std::uint64_t>{0, 1, 1000, 1024, 1536, 5242880, std::uint64_t{1} << 40U,
                                  std::uint64_t{1} << 52U, unlimited - 1, unlimited}) {
    const std::string text = exact_size(bytes);
    CAPTURE(text);
    CHECK(parse_size(text).value() == bytes);
    CHECK(parse_count(exact_count(bytes)).value() == bytes);
  }
}

}  // namespace cachectl::config
