// Eviction: what was used least recently goes first.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <thread>

#include "src/store/age_histogram.hpp"
#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::seconds;
using test::key_of;
using test::must;
using test::put;
using test::seen;
using test::TestCache;

namespace {

/// Makes the record look as if it had last been used `ago`.
void used(const TestCache& test, const Key& key, seconds ago) {
  const auto at = SystemClock().now() - ago;
  const timespec times[2] = {{std::chrono::floor<seconds>(at.time_since_epoch()).count(), 0},
                             {0, UTIME_OMIT}};
  if (::utimensat(AT_FDCWD, test.record(key).c_str(), times, 0) != 0) {
    throw std::runtime_error("utimensat");
  }
}

Key numbered(int number) { return key_of("key " + std::to_string(number)); }

/// Ten values; number 0 was used an hour ago, number 9 ten hours ago.
void fill(TestCache& test, const Cache& cache, std::size_t size) {
  for (int number = 0; number < 10; ++number) {
    put(cache, numbered(number), test::pattern(size));
    used(test, numbered(number), hours(number + 1));
  }
}

std::set<int> left(const TestCache& test) {
  std::set<int> numbers;
  for (int number = 0; number < 10; ++number) {
    if (fs::exists(test.record(numbered(number)))) numbers.insert(number);
  }
  return numbers;
}

}  // namespace

TEST_CASE("eviction: beyond a number of entries, the least recently used go") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, 100);
  GcPolicy policy;
  policy.max_entries = 7;
  const auto report = must(cache.collect(policy));
  CHECK(report.evicted.files == 3);
  CHECK(report.kept.files == 7);
  CHECK(left(test) == std::set<int>{0, 1, 2, 3, 4, 5, 6});
  CHECK(must(cache.collect(policy)).evicted.files == 0);
}

TEST_CASE("eviction: beyond a size, the least recently used go") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, 1000);
  const auto size = fs::file_size(test.record(numbered(0)));
  GcPolicy policy;
  policy.max_size = 4 * size + size / 2;
  const auto report = must(cache.collect(policy));
  CHECK(report.evicted.files == 6);
  CHECK(report.kept.bytes == 4 * size);
  CHECK(left(test) == std::set<int>{0, 1, 2, 3});
}

TEST_CASE("eviction: reading a value counts as use") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, GENERATE(std::size_t{100}, std::size_t{100'000}));
  SECTION("by get") { CHECK(must(cache.get(numbered(9)))); }
  SECTION("by run") {
    CHECK(must(cache.run(numbered(9), {{"false"}, {}}, {}, {})).how == refresh::How::hit);
  }
  test.clock().set(SystemClock().now() + seconds(1));
  GcPolicy policy;
  policy.max_entries = 3;
  must(cache.collect(policy));
  CHECK(left(test) == std::set<int>{0, 1, 9});
}

TEST_CASE("eviction: the first use of a value is noted, and then at most one in a second") {
  TestCache test;
  const auto cache = test.open();
  test.clock().set(SystemClock().now());
  const auto key = key_of("k");
  put(cache, key, "value");
  const auto noted = [&] {
    struct stat status {};
    if (::stat(test.record(key).c_str(), &status) != 0) throw std::runtime_error("stat");
    return wall_time(status.st_atim);
  };
  const auto made = noted();
  std::this_thread::sleep_for(std::chrono::milliseconds(10));  // more than a tick
  REQUIRE(seen(cache, key) == "value: value");
  CHECK(noted() > made);

  used(test, key, seconds(3600));
  const auto long_ago = noted();
  REQUIRE(seen(cache, key) == "value: value");
  const auto first = noted();
  CHECK(first > long_ago);
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(seen(cache, key) == "value: value");
  // On a machine that is busy, a second may have passed.
  if (SystemClock().now() - first < std::chrono::milliseconds(900)) CHECK(noted() == first);
}

TEST_CASE("eviction: listing, and looking for keys to remove, do not count as use") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, 100);
  for (int number = 5; number < 10; ++number) {
    // Not all of them, or the order would stay the same.
    must(cache.list([](const Listed&) {}));
    must(cache.remove_if([](std::string_view) { return false; }, {}));
  }
  used(test, numbered(9), seconds(1));
  test.clock().set(SystemClock().now() + seconds(1));
  GcPolicy policy;
  policy.max_entries = 3;
  must(cache.collect(policy));
  CHECK(left(test) == std::set<int>{0, 1, 9});
}

TEST_CASE("eviction: in a shared cache, what others of the group have stored goes as well") {
  if (::geteuid() != 0) {
    WARN("NOT TESTED: being another user takes root");
    return;
  }
  TestCache test(Sharing::group);
  const auto cache = test.open();
  fill(test, cache, 100);
  constexpr unsigned kNobody = 65534;
  for (const auto& path : {test.outside().path(), test.root()}) {
    REQUIRE(::chown(path.c_str(), 0, kNobody) == 0);
  }
  fs::permissions(test.outside().path(), fs::perms(0770));
  fs::permissions(test.root(), fs::perms(02770));
  for (const auto& item : fs::recursive_directory_iterator(test.root())) {
    REQUIRE(::chown(item.path().c_str(), 0, kNobody) == 0);
    if (item.is_directory()) fs::permissions(item, fs::perms(02770));
  }
  test.clock().set(SystemClock().now() + seconds(1));
  test::Forked member([&](const test::Link&) {
    if (::setresgid(kNobody, kNobody, kNobody) != 0) return 1;
    if (::setresuid(kNobody, kNobody, kNobody) != 0) return 1;
    GcPolicy policy;
    policy.max_entries = 3;
    return must(test.open().collect(policy)).evicted.files == 7 ? 0 : 2;
  });
  CHECK(member.wait() == 0);
  CHECK(left(test) == std::set<int>{0, 1, 2});
}

TEST_CASE("eviction: what is locked stays, and what is fresh goes only for the limit") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, 100);
  const auto key = numbered(9);
  const auto held = must(cache.lock(&key, lock::Mode::exclusive, lock::Deadline::never(), "test"));
  GcPolicy policy;
  policy.max_entries = 8;
  const auto report = must(cache.collect(policy));
  CHECK(report.busy == 1);
  CHECK(left(test).count(9) == 1);
}

TEST_CASE("eviction: a limit of nothing empties the cache, of any number nothing") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, 100);
  CHECK(must(cache.collect({})).evicted.files == 0);
  GcPolicy policy;
  policy.max_size = 0;
  const auto report = must(cache.collect(policy));
  CHECK(report.evicted.files == 10);
  CHECK(report.kept.files == 0);
  CHECK(report.kept.bytes == 0);
  CHECK(left(test).empty());
}

TEST_CASE("eviction: times of use beyond all reason break nothing") {
  TestCache test;
  const auto cache = test.open();
  fill(test, cache, 100);
  const std::int64_t time = GENERATE(std::int64_t{-9'000'000'000}, std::int64_t{0},
                                     std::int64_t{9'000'000'000}, std::int64_t{15'000'000'000});
  const timespec times[2] = {{time, 0}, {0, UTIME_OMIT}};
  REQUIRE(::utimensat(AT_FDCWD, test.record(numbered(4)).c_str(), times, 0) == 0);
  GcPolicy policy;
  policy.max_entries = 5;
  const auto report = must(cache.collect(policy));
  CHECK(report.kept.files <= 6);
  CHECK(left(test).count(0) == 1);
}

TEST_CASE("age histogram: what has to go covers the excess and hardly more") {
  const WallTime now{seconds(1'700'000'000)};
  AgeHistogram ages(now);
  CHECK_FALSE(ages.cut(0, 0));
  for (int age = 1; age <= 1000; ++age) ages.add(now - seconds(age), 10);
  CHECK_FALSE(ages.cut(1000, 10'000));
  for (const std::uint64_t kept : {999U, 500U, 1U, 0U}) {
    const auto excess = ages.cut(kept, GcPolicy::kUnlimited);
    REQUIRE(excess);
    std::uint64_t older = 0;
    std::uint64_t of_class = 0;
    for (int age = 1; age <= 1000; ++age) {
      const int order = ages.compare(now - seconds(age), *excess);
      older += order > 0 ? 1 : 0;
      of_class += order == 0 ? 1 : 0;
    }
    CHECK(older + excess->files == 1000 - kept);
    CHECK(excess->files <= of_class);
  }
  const auto by_size = ages.cut(GcPolicy::kUnlimited, 5'000);
  REQUIRE(by_size);
  CHECK(ages.compare(now - seconds(1000), *by_size) > 0);
  CHECK(ages.compare(now - seconds(1), *by_size) < 0);
}

TEST_CASE("age histogram: times in the future and before all clocks are counted") {
  const WallTime now{seconds(1'700'000'000)};
  AgeHistogram ages(now);
  ages.add(kNever, 1);
  ages.add(WallTime::min(), 1);
  ages.add(WallTime{}, 1);
  const auto excess = ages.cut(1, GcPolicy::kUnlimited);
  REQUIRE(excess);
  CHECK(ages.compare(WallTime::min(), *excess) >= 0);
  CHECK(ages.compare(kNever, *excess) < 0);
}

}  // namespace cachectl::store
