#include "src/library/layered_cache.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "tests/refresh/asking.hpp"

namespace cachectl {

using refresh::ComputePolicy;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using test::content_of;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::TestCache;
using test::wait_until;
using test::waiting_for;
using test::write_file;

namespace {

/// "value: …", "miss", or "error: …".
std::string shown(const Result<LayeredCache::Value>& got) {
  if (!got) return "error: " + got.error().describe();
  return *got ? "value: " + (*got)->output : "miss";
}

refresh::Make giving(std::string text) {
  return [text = std::move(text)]() -> Result<std::string> { return text; };
}

ComputePolicy living(std::chrono::nanoseconds ttl) {
  ComputePolicy policy;
  policy.windows.ttl = ttl;
  policy.durability = lock::Durability::none;
  return policy;
}

/// What a function that leaves a trace does: a line for each call.
refresh::Make traced(const std::string& log, const std::string& gate, std::string text) {
  return [=]() -> Result<std::string> {
    std::ofstream(log, std::ios::app) << "call\n";
    while (!std::filesystem::exists(gate)) std::this_thread::sleep_for(milliseconds(2));
    return text;
  };
}

std::size_t calls_in(const std::string& log) { return content_of(log).size() / 5; }

constexpr const char* kTable = store::ChangeTable::kName;

}  // namespace

TEST_CASE("library: what is set is got, from memory the second time") {
  TestCache test;
  LayeredCache cache(test.open());
  const auto key = key_of("key");
  CHECK(shown(cache.get(key)) == "miss");
  CHECK_FALSE(test.open().exists());
  must(cache.set(key, "1"));
  CHECK(shown(cache.get(key)) == "value: 1");
  // Behind the back of the cache: only the memory still has it.
  std::filesystem::remove(test.record(key));
  CHECK(shown(cache.get(key)) == "value: 1");
  CHECK(cache.memory_counts().hits == 1);
  const auto many = must(cache.get_many({key_of("other"), key}));
  CHECK(many[0] == nullptr);
  CHECK(many[1]->output == "1");
  put(test.open(), key, "2");
  CHECK(shown(cache.get(key)) == "value: 2");
  CHECK(must(cache.remove(key)));
  CHECK(shown(cache.get(key)) == "miss");
}

TEST_CASE("library: a value in memory expires as it does on disk") {
  TestCache test;
  LayeredCache cache(test.open());
  const auto key = key_of("key");
  must(cache.set_with_strategy(key, "text", "short-term"));
  test.clock().advance(minutes(5) - seconds(1));
  CHECK(shown(cache.get(key)) == "value: text");
  CHECK(shown(cache.get(key)) == "value: text");
  test.clock().advance(seconds(2));
  CHECK(shown(cache.get(key)) == "miss");
  const auto refused = cache.set_with_strategy(key, "text", "short");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::usage);
  CHECK(refused.error().advice.find("short-term") != std::string::npos);
}

TEST_CASE("library: another process's set and removal are seen at once") {
  TestCache test;
  LayeredCache cache(test.open());
  const auto key = key_of("key");
  must(cache.set(key, "0"));
  for (int round = 1; round <= 20; ++round) {
    static_cast<void>(cache.get(key));
    CHECK(cache.get(key));
    const bool removes = round % 5 == 0;
    Forked other([&](const Link&) {
      const auto theirs = test.open();
      if (removes) return must(theirs.remove(key, {})) ? 0 : 1;
      put(theirs, key, std::to_string(round));
      return 0;
    });
    REQUIRE(other.wait() == 0);
    CHECK(shown(cache.get(key)) == (removes ? "miss" : "value: " + std::to_string(round)));
  }
}

TEST_CASE("library: nothing is kept once a page of the table of changes is gone") {
  TestCache test;
  const auto root = test.open_root();
  const auto table = must(store::ChangeTable::open(root));
  const auto hash = key_of("key").hash();
  CHECK(table->stamp(hash));
  std::filesystem::resize_file(test.file(kTable), 4096);
  CHECK_FALSE(table->stamp(hash));
  { const store::Change change(root, hash); }
  CHECK(std::filesystem::file_size(test.file(kTable)) == 4096);
}

TEST_CASE("library: while a change is under way nothing is kept, nor after its writer was killed") {
  TestCache test;
  put(test.open(), key_of("key"), "old");
  const auto key = key_of("key");
  auto first = std::make_unique<LayeredCache>(test.open());
  CHECK(shown(first->get(key)) == "value: old");
  Forked writer([&](const Link& link) {
    const auto root = test.open_root();
    const store::Change change(root, key.hash());
    link.say("begun");
    static_cast<void>(link.hear());
    return 0;
  });
  REQUIRE(writer.hear() == "begun");
  const auto hits = first->memory_counts().hits;
  CHECK(shown(first->get(key)) == "value: old");
  CHECK(shown(first->get(key)) == "value: old");
  CHECK(first->memory_counts().hits == hits);
  writer.kill();
  CHECK(shown(first->get(key)) == "value: old");
  CHECK(first->memory_counts().hits == hits);
  // Who comes when nobody writes puts it right.
  LayeredCache second(test.open());
  for (int each = 0; each < 3; ++each) CHECK(shown(second.get(key)) == "value: old");
  CHECK(second.memory_counts().hits == 2);
}

TEST_CASE(
    "library: a table of changes that is foreign, cut short or gone costs no more than memory") {
  TestCache test;
  const auto key = key_of("key");
  put(test.open(), key, "1");
  const auto damage = GENERATE(0, 1, 2, 3, 4);
  LayeredCache cache(test.open());
  if (damage != 4) CHECK(shown(cache.get(key)) == "value: 1");
  const auto path = test.file(kTable);
  if (damage == 0) write_file(path + ".new", "something else");
  if (damage == 1) write_file(path + ".new", content_of(path).substr(0, 5000));
  if (damage == 2) std::filesystem::create_symlink("/etc/passwd", path + ".new");
  if (damage < 3) std::filesystem::rename(path + ".new", path);
  if (damage == 3) std::filesystem::remove(path);
  if (damage == 4) write_file(path, "from the start");
  put(test.open(), key, "2");
  CHECK(wait_until([&] { return shown(cache.get(key)) == "value: 2"; }));
  CHECK(wait_until([&] {
    const auto before = cache.memory_counts().hits;
    return shown(cache.get(key)) == "value: 2" && cache.memory_counts().hits > before;
  }));
  CHECK(std::filesystem::file_size(path) == store::ChangeTable::kSize);
  put(test.open(), key, "3");
  CHECK(shown(cache.get(key)) == "value: 3");
}

TEST_CASE("library: of 250 threads that ask for a cold key one computes") {
  TestCache test;
  LayeredCache cache(test.open());
  const auto key = key_of("cold");
  std::atomic<int> calls{0};
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int each = 0; each < 250; ++each) {
    threads.emplace_back([&] {
      const auto got = cache.get_or_compute(key, living(minutes(1)), [&]() -> Result<std::string> {
        ++calls;
        std::this_thread::sleep_for(milliseconds(50));
        return std::string("made");
      });
      if (shown(got) == "value: made") ++right;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(calls == 1);
  CHECK(right == 250);
}

TEST_CASE("library: of two processes that ask for a cold key one computes") {
  TestCache test;
  const auto key = key_of("cold");
  const auto log = test.outside().file("log");
  const auto gate = test.outside().file("gate");
  write_file(log, "");
  const auto body = [&](const Link& link) {
    LayeredCache cache(test.open());
    link.say(shown(cache.get_or_compute(key, living(minutes(1)), traced(log, gate, "made"))));
    return 0;
  };
  Forked first(body);
  REQUIRE(wait_until([&] { return calls_in(log) == 1; }));
  Forked second(body);
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 1; }));
  SECTION("and both have it") {
    write_file(gate, "");
    CHECK(first.hear() == "value: made");
    CHECK(second.hear() == "value: made");
    CHECK(calls_in(log) == 1);
  }
  SECTION("and when that one is killed, the other does") {
    first.kill();
    REQUIRE(wait_until([&] { return calls_in(log) == 2; }));
    write_file(gate, "");
    CHECK(second.hear() == "value: made");
    CHECK(calls_in(log) == 2);
  }
}

TEST_CASE("library: a failure is shared by all who wait, in both processes, and not stored") {
  TestCache test;
  const auto key = key_of("key");
  const auto log = test.outside().file("log");
  const auto gate = test.outside().file("gate");
  const bool throws = GENERATE(false, true);
  write_file(log, "");
  const auto failing = [&]() -> Result<std::string> {
    static_cast<void>(traced(log, gate, "")());
    if (throws) throw std::runtime_error("the shop is closed");
    return fail(Errc::io, "the shop is closed");
  };
  const auto body = [&](const Link& link) {
    LayeredCache cache(test.open());
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;
    for (int each = 0; each < 5; ++each) {
      threads.emplace_back([&] {
        const auto got = shown(cache.get_or_compute(key, living(minutes(1)), failing));
        if (got.find("the shop is closed") != std::string::npos) ++failed;
      });
    }
    link.say("started");
    for (auto& thread : threads) thread.join();
    link.say(std::to_string(failed) + " " + shown(cache.get(key)));
    return 0;
  };
  Forked first(body);
  REQUIRE(wait_until([&] { return calls_in(log) == 1; }));
  Forked second(body);
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 1; }));
  // Each process has one that waits in the kernel or works; the others sleep in the process.
  for (const auto* process : {&first, &second}) {
    REQUIRE(process->hear() == "started");
    REQUIRE(test::wait_until_all_asleep(process->pid()));
  }
  write_file(gate, "");
  CHECK(first.hear() == "5 miss");
  CHECK(second.hear() == "5 miss");
  CHECK(calls_in(log) == 1);
  LayeredCache later(test.open());
  CHECK(shown(later.get_or_compute(key, living(minutes(1)), giving("open"))) == "value: open");
}

TEST_CASE("library: a stale value is served at once and made anew behind") {
  TestCache test;
  const auto key = key_of("key");
  auto policy = living(seconds(10));
  policy.windows.stale_while_revalidate = seconds(60);
  LayeredCache cache(test.open());
  CHECK(shown(cache.get_or_compute(key, policy, giving("1"))) == "value: 1");
  test.clock().advance(seconds(11));
  CHECK(shown(cache.get_or_compute(key, policy, giving("2"))) == "value: 1");
  CHECK(wait_until(
      [&] { return shown(cache.get_or_compute(key, policy, giving("3"))) == "value: 2"; }));
  test.clock().advance(seconds(71));
  CHECK(shown(cache.get_or_compute(key, policy, giving("4"))) == "value: 4");
}

TEST_CASE("library: a stale value stands in for a failure within its window only") {
  TestCache test;
  const auto key = key_of("key");
  auto policy = living(seconds(10));
  policy.windows.stale_if_error = seconds(60);
  LayeredCache cache(test.open());
  const auto failing = []() -> Result<std::string> { return fail(Errc::io, "closed"); };
  CHECK(shown(cache.get_or_compute(key, policy, giving("1"))) == "value: 1");
  test.clock().advance(seconds(11));
  CHECK(shown(cache.get_or_compute(key, policy, failing)) == "value: 1");
  CHECK(test.take_warnings().size() == 1);
  test.clock().advance(seconds(60));
  CHECK(shown(cache.get_or_compute(key, policy, failing)) == "error: closed");
}

TEST_CASE("library: XFetch makes a value anew before it expires") {
  TestCache test;
  const auto key = key_of("key");
  auto policy = living(seconds(10));
  policy.windows.beta = 1e12;
  LayeredCache cache(test.open());
  CHECK(shown(cache.get_or_compute(key, policy, giving("1"))) == "value: 1");
  CHECK(shown(cache.get_or_compute(key, policy, giving("2"))) == "value: 1");
  CHECK(wait_until([&] {
    return shown(cache.get_or_compute(key, living(seconds(10)), giving("3"))) == "value: 2";
  }));
}

TEST_CASE("library: a fallback answers a miss and is not stored") {
  TestCache test;
  const auto key = key_of("key");
  LayeredCache cache(test.open());
  CHECK(shown(cache.get_with_fallback(key, giving("made"))) == "value: made");
  CHECK(shown(cache.get(key)) == "miss");
  must(cache.set(key, "stored"));
  CHECK(shown(cache.get_with_fallback(key, giving("made"))) == "value: stored");
}

TEST_CASE("library: a cache that cannot be made does not keep a value from being computed") {
  TestCache test;
  write_file(test.outside().file("file"), "");
  CacheOptions options;
  options.root = test.outside().file("file") + "/cache";
  std::vector<std::string> warned;
  options.warn = [&](const Error& what) { warned.push_back(what.describe()); };
  auto opened = Cache::open(std::move(options));
  if (!opened) return;  // refused before it came to that
  LayeredCache cache(std::move(*opened));
  CHECK(shown(cache.get_or_compute(key_of("key"), living(minutes(1)), giving("made"))) ==
        "value: made");
  CHECK_FALSE(warned.empty());
}

TEST_CASE("library: a function and a shell's source share one value") {
  TestCache test;
  const auto key = key_of("key");
  LayeredCache cache(test.open());
  CHECK(shown(cache.get_or_compute(key, living(minutes(1)), giving("made"))) == "value: made");
  CHECK(test::ask(test.open(), key, test::shell("echo other")) == "hit 0 [made] []");
}

}  // namespace cachectl
