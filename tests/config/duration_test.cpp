#include "src/config/duration.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace cachectl::config {

// clang-tidy 14 does not see the uses of a literal operator.
// NOLINTBEGIN(misc-unused-using-decls)
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
// NOLINTEND(misc-unused-using-decls)
using std::chrono::nanoseconds;

TEST_CASE("duration: every unit, and several from the largest to the smallest, are read") {
  const std::vector<std::pair<std::string, nanoseconds>> table{
      {"0", 0ns},          {"0s", 0ns},      {"500ms", 500ms},
      {"30s", 30s},        {"5m", 5min},     {"1h30m", 90min},
      {"2d", 48h},         {"1w", 168h},     {"1w2d", 216h},
      {"1h5s", 3605s},     {"90m", 90min},   {"007s", 7s},
      {"1s500ms", 1500ms}, {"never", never}, {"1w1d1h1m1s1ms", 192h + 1h + 1min + 1s + 1ms},
  };
  for (const auto& [text, expected] : table) {
    CAPTURE(text);
    const auto parsed = parse_duration(text);
    REQUIRE(parsed);
    CHECK(*parsed == expected);
  }
}

TEST_CASE("duration: a bare number is refused and the message says which unit to add") {
  const auto advice = [](std::string_view text) {
    const auto parsed = parse_duration(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::usage);
    return parsed.error().describe();
  };
  CHECK(advice("30") == "'30' has no unit (write 30s)");
  CHECK(advice("1h30") == "'1h30' has no unit (write 1h30m)");
  CHECK(advice("00") == "'00' has no unit (write 00s)");
  CHECK(advice("5s3") == "'5s3' has no unit (write 5s3ms)");
  CHECK_FALSE(parse_duration("5ms3"));
}

TEST_CASE("duration: what is not a duration is refused with an example") {
  for (const std::string text :
       {"",        " ",         "s",   "-5s",  "-",    "+5s",  "1.5h",  "5 s",
        " 5s",     "5s ",       "5S",  "5sec", "5min", "1e3s", "NEVER", "nevers",
        "never1s", "unlimited", "5us", "5ns",  "5y",   "0x5s", "5\ns",  "\xff"}) {
    CAPTURE(text);
    const auto parsed = parse_duration(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::usage);
    CHECK(parsed.error().advice.find("30s") != std::string::npos);
    CHECK(parsed.error().message.find('\n') == std::string::npos);
  }
  CHECK_FALSE(parse_duration(std::string_view("5s\0", 3)));
}

TEST_CASE("duration: units in the wrong order or twice are refused") {
  for (const std::string text : {"30m1h", "1s1h", "5m5m", "1ms1s", "1d1w"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("duration: the longest duration is read and one more of each unit is refused") {
  // 2^63 - 1 ns is `never` itself; the table holds the last whole unit below it.
  const std::vector<std::pair<std::string, std::string>> table{
      {"9223372036854ms", "9223372036855ms"},
      {"9223372036s", "9223372037s"},
      {"153722867m", "153722868m"},
      {"2562047h", "2562048h"},
      {"106751d", "106752d"},
      {"15250w", "15251w"},
      {"106751d23h47m16s854ms", "106751d23h47m16s855ms"},
  };
  for (const auto& [longest, longer] : table) {
    CAPTURE(longest, longer);
    const auto parsed = parse_duration(longest);
    REQUIRE(parsed);
    CHECK(*parsed < never);
    CHECK(*parsed > 0ns);
    const auto refused = parse_duration(longer);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().advice == "write never");
  }
  CHECK_FALSE(parse_duration("18446744073709551615s"));
  CHECK_FALSE(parse_duration("18446744073709551616s"));
  CHECK_FALSE(parse_duration(std::string(4096, '9') + "s"));
}

TEST_CASE("duration: people read the two largest units") {
  const std::vector<std::pair<nanoseconds, std::string>> table{
      {0ns, "0"},
      {1ns, "<1ms"},
      {-1ns, "<1ms"},
      {1ms, "1ms"},
      {999ms, "999ms"},
      {45s, "45s"},
      {60s, "1m"},
      {90min, "1h30m"},
      {90min + 5s, "1h30m"},
      {24h + 5min, "1d"},
      {49h, "2d1h"},
      {336h, "14d"},
      {-30s, "-30s"},
      {1500ms, "1s500ms"},
      {never, "never"},
      {nanoseconds::min(), "-106751d23h"},
  };
  for (const auto& [duration, expected] : table) {
    CAPTURE(duration.count());
    CHECK(format_duration(duration) == expected);
  }
}

TEST_CASE("duration: the exact form is read back as the same duration") {
  for (const nanoseconds duration : std::vector<nanoseconds>{
           0ns, 1ms, 30s, 60s, 90min, 24h + 5min + 7s + 9ms, 336h, 9223372036854ms, never}) {
    const std::string text = exact_duration(duration);
    CAPTURE(text);
    const auto parsed = parse_duration(text);
    REQUIRE(parsed);
    CHECK(*parsed == duration);
  }
}

}  // namespace cachectl::config
