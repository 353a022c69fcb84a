// A record that a later version of the program has written is left alone by everybody.
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

#include "src/checksum.hpp"
#include "tests/store/fixture.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using test::content_of;
using test::key_of;
using test::must;
using test::put;
using test::TestCache;
using test::write_file;

namespace {

/// A record whose header is `header_size` long, as a later format may have it.
std::string later_record(std::size_t header_size, const std::string& key) {
  std::string head(header_size, '\x55');
  std::memcpy(head.data(), "cachectl", 8);
  const auto put_number = [&](std::size_t at, std::uint32_t number) {
    std::memcpy(head.data() + at, &number, sizeof number);
  };
  put_number(8, 2);
  put_number(12, static_cast<std::uint32_t>(header_size));
  put_number(104, static_cast<std::uint32_t>(key.size()));
  std::memset(head.data() + 16, 0, 8);
  head += key;
  const std::uint64_t sum = checksum_of(lock::bytes_of(head));
  std::memcpy(head.data() + 16, &sum, sizeof sum);
  return head + "payload of whatever kind";
}

void make_old(const std::string& path) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(48));
}

}  // namespace

TEST_CASE("unknown version: get, set, run and inspect say which, and leave the record") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "value");
  const auto record = test::with_version(content_of(test.record(key)), 9);
  write_file(test.record(key), record);

  const auto names_it = [](const auto& result) {
    return !result && result.error().code == Errc::format &&
           result.error().describe().find("version 9") != std::string::npos;
  };
  CHECK(names_it(cache.get(key)));
  CHECK(names_it(cache.inspect(key)));
  CHECK(names_it(cache.set(key, lock::bytes_of("new"), {})));
  SetPolicy absent;
  absent.if_absent = true;
  CHECK(names_it(cache.set(key, lock::bytes_of("new"), absent)));
  CHECK(names_it(cache.run(key, {{"touch", test.outside().file("ran")}, {}}, {}, {})));
  CHECK_FALSE(fs::exists(test.outside().file("ran")));
  CHECK(content_of(test.record(key)) == record);
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("unknown version: remove_if takes the others and leaves the record") {
  TestCache test;
  const auto cache = test.open();
  for (int number = 0; number < 20; ++number) put(cache, key_of(std::to_string(number)), "value");
  const auto key = key_of("7");
  const auto record = test::with_version(content_of(test.record(key)), 9);
  write_file(test.record(key), record);
  const auto removed = cache.remove_if([](std::string_view) { return true; }, {});
  REQUIRE_FALSE(removed);
  CHECK(removed.error().code == Errc::format);
  CHECK(content_of(test.record(key)) == record);
  CHECK(test.count("entries") == 1);
}

TEST_CASE("unknown version: list shows the others and warns") {
  TestCache test;
  const auto cache = test.open();
  for (int number = 0; number < 5; ++number) put(cache, key_of(std::to_string(number)), "value");
  const auto path = test.record(key_of("3"));
  write_file(path, test::with_version(content_of(path), 9));
  int rows = 0;
  must(cache.list([&](const Listed&) { ++rows; }));
  CHECK(rows == 4);
  const auto warnings = test.take_warnings();
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], Catch::Contains("version 9"));
}

TEST_CASE("unknown version: gc keeps the record, old, beyond a limit, whatever its header") {
  TestCache test;
  const auto cache = test.open();
  const std::size_t header_size = GENERATE(std::size_t{128}, std::size_t{256}, std::size_t{4096});
  const auto key = key_of(std::string(4096, 'k'));
  put(cache, key, "value");
  put(cache, key_of("another"), "value");
  const auto record = later_record(header_size, key.bytes());
  write_file(test.record(key), record);
  make_old(test.record(key));
  test.clock().set(SystemClock().now() + std::chrono::seconds(1));
  GcPolicy policy;
  policy.max_entries = 0;
  const auto report = must(cache.collect(policy));
  CHECK(content_of(test.record(key)) == record);
  CHECK(report.expired.files == 0);
  CHECK(report.damaged.files == 0);
  CHECK(report.evicted.files == 1);
  CHECK_FALSE(report.problems.empty());
}

TEST_CASE("unknown version: with a wrong checksum it is damage, and replaced") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "value");
  auto record = content_of(test.record(key));
  record[8] = 9;
  write_file(test.record(key), record);
  CHECK(test::seen(cache, key) == "miss");
  put(cache, key, "new");
  CHECK(test::value_of(cache, key) == "new");
}

}  // namespace cachectl::store
