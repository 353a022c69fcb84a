// Many writers and readers of one key: nobody ever sees anything but a whole value.
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::store {

using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::seen;
using test::TestCache;

namespace {

constexpr std::size_t kSize = 1024 * 1024;
constexpr int kWriters = 8;
constexpr int kReaders = 8;
constexpr int kRefreshes = 13;  // by each writer: 104 in all

/// A value that says what it is in each of its words.
std::string refresh(std::uint64_t number) {
  std::string value(kSize, '\0');
  for (std::size_t at = 0; at < kSize; at += sizeof number) {
    const std::uint64_t word = number * kSize + at;
    std::memcpy(value.data() + at, &word, sizeof word);
  }
  return value;
}

/// "" or what is wrong with it.
std::string defect_of(const std::string& value) {
  if (value.size() != kSize) return "short: " + std::to_string(value.size());
  std::uint64_t first = 0;
  std::memcpy(&first, value.data(), sizeof first);
  if (first % kSize != 0) return "not a value";
  return value == refresh(first / kSize) ? "" : "a mix";
}

std::string write_some(const Cache& cache, const Key& key, int writer) {
  SetPolicy policy;
  policy.durability = lock::Durability::none;
  for (int turn = 0; turn < kRefreshes; ++turn) {
    const auto value = refresh(static_cast<std::uint64_t>(writer * kRefreshes + turn));
    const auto set = cache.set(key, lock::bytes_of(value), policy);
    if (!set) return set.error().describe();
  }
  return "ok";
}

/// Reads until `stop`; "ok", or what was wrong.
template <typename Stop>
std::string read_until(const Cache& cache, const Key& key, Stop stop) {
  Generation last = 0;
  do {
    const auto entry = cache.get(key);
    if (!entry) return "error: " + entry.error().describe();
    if (!*entry) return "a miss";
    const auto defect = defect_of(must((*entry)->read(Stream::output)));
    if (!defect.empty()) return defect;
    if ((*entry)->header().generation < last) return "an older generation than before";
    last = (*entry)->header().generation;
  } while (!stop());
  return "ok";
}

}  // namespace

TEST_CASE("refresh: reading processes see whole values only while others write") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, refresh(0));
  std::vector<Forked> readers;
  for (int number = 0; number < kReaders; ++number) {
    readers.emplace_back([&](const Link& link) {
      const auto own = test.open();
      const auto result = read_until(
          own, key, [&] { return link.hear(std::chrono::milliseconds(0)) != "(silence)"; });
      link.say(result);
      return 0;
    });
  }
  std::vector<Forked> writers;
  for (int number = 0; number < kWriters; ++number) {
    writers.emplace_back([&, number](const Link& link) {
      link.say(write_some(test.open(), key, number));
      return 0;
    });
  }
  for (auto& writer : writers) CHECK(writer.hear() == "ok");
  for (const auto& reader : readers) reader.say("stop");
  for (const auto& reader : readers) CHECK(reader.hear() == "ok");
  CHECK(test.take_warnings().empty());
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("refresh: reading threads see whole values only while others write") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, refresh(0));
  std::atomic<bool> stop = false;
  std::vector<std::string> results(kReaders + kWriters);
  std::vector<std::thread> readers;
  std::vector<std::thread> writers;
  for (std::size_t number = 0; number < kReaders; ++number) {
    readers.emplace_back(
        [&, number] { results[number] = read_until(cache, key, [&] { return stop.load(); }); });
  }
  for (std::size_t number = 0; number < kWriters; ++number) {
    writers.emplace_back([&, number] {
      results[kReaders + number] = write_some(cache, key, static_cast<int>(number));
    });
  }
  for (auto& writer : writers) writer.join();
  stop = true;
  for (auto& reader : readers) reader.join();
  for (const auto& result : results) CHECK(result == "ok");
  CHECK(test.take_warnings().empty());
  CHECK(test.count("tmp") == 0);
}

}  // namespace cachectl::store
