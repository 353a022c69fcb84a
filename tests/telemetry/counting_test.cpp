#include "src/telemetry/counting.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/refresh/asking.hpp"

namespace cachectl::test {

using std::chrono::seconds;
using telemetry::Counter;
using telemetry::Counting;
using telemetry::Happening;
using telemetry::Report;
using telemetry::Timing;
using telemetry::What;

namespace {

/// Keys that begin with "a" have an entry.
telemetry::Observers counting() {
  return {std::make_shared<Counting>(
      [](std::string_view key) -> std::string_view { return key.starts_with('a') ? "a*" : ""; })};
}

Report counted(const Cache& cache) {
  auto report = must(cache.counters());
  if (!report) throw std::runtime_error("nothing was counted");
  return std::move(*report);
}

}  // namespace

TEST_CASE("counting: a miss and its hits, in the row of the entry, and others in theirs") {
  TestCache test;
  const auto cache = test.open(counting());
  CHECK_FALSE(must(cache.get(key_of("a1"))));  // there is no cache to count in
  const auto source = shell("sleep 0.05; echo 12345");
  CHECK(ask(cache, key_of("a1"), source) == "ran 0 [12345\n] []");
  CHECK(ask(cache, key_of("a1"), source) == "hit 0 [12345\n] []");
  CHECK(must(test.open(counting()).get(key_of("a1"))));
  put(cache, key_of("b"), "123");
  const auto report = counted(cache);
  REQUIRE(report.entries.size() == 1);
  const auto& row = report.entries.front();
  CHECK(row.name == "a*");
  CHECK(report.find("a*") == &row);
  CHECK(row.of(Counter::hits) == 2);
  CHECK(row.of(Counter::misses) == 1);
  CHECK(row.of(Counter::served) == 12);
  CHECK(row.of(Counter::stored) == 6);
  CHECK(row.of(Counter::publishes) == 1);
  CHECK(row.of(Counter::source_runs) == 1);
  CHECK(row.of(Counter::saved) >= 2 * 50'000'000);
  CHECK(row.of(Counter::saved) < 2 * 50'000'000'000);
  CHECK(row.of(Timing::hit).count() == 2);
  CHECK(row.of(Timing::source).count() == 1);
  CHECK(row.of(Timing::source).quantile(0.5) >= std::chrono::milliseconds(49));
  CHECK(row.of(Timing::lock_wait).count() == 1);
  CHECK(row.of(Timing::lock_hold).count() == 1);
  CHECK(hit_ratio(row) == Approx(2.0 / 3));
  CHECK(report.others.of(Counter::publishes) == 1);
  CHECK(report.others.of(Counter::stored) == 3);
  CHECK_FALSE(hit_ratio(report.others));
  const auto total = report.total();
  CHECK(total.of(Counter::stored) == 9);
  CHECK(total.of(Timing::lock_wait).count() == 2);
}

TEST_CASE("counting: all that is told is counted, each with its own counter") {
  TestCache test;
  const auto root = test.open_root();
  Counting observer([](std::string_view) { return std::string_view(); });
  observer.opened(root.directory(), root.file_mode());
  // Those are not counted by themselves, but by their histogram.
  std::uint64_t counters = 0;
  std::uint64_t timings = 0;
  for (int each = 0; each <= static_cast<int>(What::breaker_closed); ++each) {
    observer.happened({static_cast<What>(each), "key", seconds(1)});
    const auto row = telemetry::read_counters(root.directory())->others;
    std::uint64_t all = 0;
    std::uint64_t all_timings = 0;
    for (const auto count : row.counters) all += count;
    for (const auto& timing : row.timings) all_timings += timing.count();
    INFO(name_of(static_cast<What>(each)));
    CHECK((all == counters + 1 || all_timings == timings + 1));
    CHECK(all <= counters + 1);
    counters = all;
    timings = all_timings;
  }
}

TEST_CASE("counting: makes no file before something happens, and finds the new one of a reset") {
  TestCache test;
  test.open_root();
  const auto cache = test.open(counting());
  CHECK_FALSE(std::filesystem::exists(test.file("counters")));
  CHECK_FALSE(must(cache.counters()));
  put(cache, key_of("key"), "value");
  CHECK(counted(cache).others.of(Counter::publishes) == 1);
  must(cache.reset_counters());
  CHECK(counted(cache).others.of(Counter::publishes) == 0);
  put(cache, key_of("key"), "value");
  CHECK(counted(cache).others.of(Counter::publishes) == 1);
}

TEST_CASE("counting: what cannot be counted fails nothing") {
  TestCache test;
  test.open_root();
  std::filesystem::create_directory(test.file("counters"));
  const auto cache = test.open(counting());
  put(cache, key_of("key"), "value");
  CHECK(value_of(cache, key_of("key")) == "value");
  CHECK(test.take_warnings().empty());
  CHECK_FALSE(must(cache.counters()));
}

TEST_CASE("counting: a refresh behind the caller counts in its own process") {
  TestCache test;
  const auto cache = test.open(counting());
  const auto key = key_of("key");
  CHECK(ask(cache, key, shell("echo one")) == "ran 0 [one\n] []");
  const auto generation = must(cache.inspect(key)).entry->header().generation;
  CHECK(must(cache.refresh_behind(key, shell("echo two"), {}, generation, refresh::Child::orphan)));
  REQUIRE(wait_until([&] { return counted(cache).others.of(Counter::refreshes_ended) == 1; }));
  const auto row = counted(cache).others;
  CHECK(row.of(Counter::early_refreshes) == 1);
  CHECK(row.of(Counter::source_runs) == 2);
  CHECK(row.of(Counter::publishes) == 2);
}

TEST_CASE("counting: a crowd in threads and processes counts each of them") {
  TestCache test;
  const auto cache = test.open(counting());
  put(cache, key_of("a"), "value");
  std::vector<Forked> readers;
  for (int number = 0; number < 4; ++number) {
    readers.emplace_back([&](const Link&) {
      std::vector<std::thread> threads;
      for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
          for (int time = 0; time < 50; ++time) static_cast<void>(cache.get(key_of("a")));
        });
      }
      for (auto& thread : threads) thread.join();
      return 0;
    });
  }
  for (auto& reader : readers) CHECK(reader.wait() == 0);
  CHECK(counted(cache).entries.at(0).of(Counter::hits) == 800);
}

}  // namespace cachectl::test
