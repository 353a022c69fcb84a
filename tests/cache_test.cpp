#include "src/cache.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::seen;
using test::TestCache;
using test::value_of;

TEST_CASE("cache: reading never creates the directory") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  CHECK(seen(cache, key) == "miss");
  CHECK_FALSE(must(cache.inspect(key)).entry);
  CHECK_FALSE(must(cache.remove(key, {})));
  CHECK(must(cache.remove_if([](auto) { return true; }, {})) == 0);
  must(cache.list([](const Listed&) { throw std::runtime_error("a row"); }));
  CHECK(must(cache.collect({})).complete);
  CHECK_FALSE(cache.exists());
  CHECK_FALSE(fs::exists(test.root()));
}

TEST_CASE("cache: set, run and lock create it") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  SECTION("set") { put(cache, key, "value"); }
  SECTION("run") { must(cache.run(key, {{"true"}, {}}, {}, {})); }
  SECTION("lock") {
    const auto held =
        must(cache.lock(nullptr, lock::Mode::shared, lock::Deadline::never(), "test"));
  }
  CHECK(cache.exists());
  CHECK(fs::exists(test.file("format")));
}

TEST_CASE("cache: one that was opened before its directory was made sees it") {
  TestCache test;
  const auto early = test.open();
  CHECK(seen(early, key_of("key")) == "miss");
  put(test.open(), key_of("key"), "value");
  CHECK(seen(early, key_of("key")) == "value: value");
  CHECK(early.exists());
}

TEST_CASE("cache: what is set is got, whatever key and value are") {
  TestCache test;
  const auto cache = test.open();
  const std::string bytes =
      GENERATE(std::string("user:123"), std::string("../../etc/passwd"), std::string("\0\n\xff", 3),
               std::string(4096, 'k'), std::string("/"), std::string("."));
  const auto value = GENERATE(std::string(), std::string("\0\n", 2), test::pattern(200'000));
  const auto key = key_of(bytes);
  put(cache, key, value);
  CHECK(value_of(cache, key) == value);
  CHECK(seen(cache, key_of(bytes.substr(0, bytes.size() - 1) + "x")) == "miss");
  auto found = must(cache.inspect(key));
  REQUIRE(found.entry);
  CHECK(found.entry->key() == bytes);
  CHECK(found.entry->header().exit_status == 0);
  // Nothing lies anywhere but below the root.
  CHECK(test.outside().count() == 1);
}

TEST_CASE("cache: a value expires by the clock that was passed in") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "value", seconds(60));
  test.clock().advance(seconds(60) - std::chrono::nanoseconds(1));
  CHECK(seen(cache, key_of("key")) == "value: value");
  test.clock().advance(std::chrono::nanoseconds(1));
  CHECK(seen(cache, key_of("key")) == "miss");
  CHECK(must(cache.inspect(key_of("key"))).entry);
  test.clock().advance(-hours(24));
  CHECK(seen(cache, key_of("key")) == "miss");
  CHECK(test.take_warnings().empty());
}

TEST_CASE("cache: a generation goes up, over a deletion and with the clock set back") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  auto last = put(cache, key, "value");
  const auto goes_up = [&] {
    const auto next = put(cache, key, "value");
    const bool up = next > last;
    last = next;
    return up;
  };
  CHECK(goes_up());
  CHECK(goes_up());
  test.clock().advance(-hours(24));
  CHECK(goes_up());
  test.clock().advance(hours(48));
  CHECK(goes_up());
  CHECK(must(cache.remove(key, {})));
  test.clock().advance(milliseconds(1));
  CHECK(goes_up());
  must(cache.run(key, {{"false"}, {}},
                 [] {
                   refresh::RunPolicy policy;
                   policy.force = true;
                   return policy;
                 }(),
                 {}));
  CHECK(goes_up());
}

TEST_CASE("cache: if_absent keeps a fresh value, and replaces any other") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  SetPolicy policy;
  policy.if_absent = true;
  policy.ttl = seconds(60);
  const auto set = [&](std::string_view value) {
    return must(cache.set(key, lock::bytes_of(value), policy)).has_value();
  };
  CHECK(set("first"));
  CHECK_FALSE(set("second"));
  CHECK(seen(cache, key) == "value: first");
  CHECK(test.count("tmp") == 0);
  test.clock().advance(seconds(60));
  CHECK(set("third"));
  test::write_file(test.record(key), "damaged");
  CHECK(set("fourth"));
  CHECK(seen(cache, key) == "value: fourth");
}

TEST_CASE("cache: of many that set if_absent at once, one does") {
  TestCache test;
  std::vector<Forked> children;
  for (int number = 0; number < 8; ++number) {
    children.emplace_back([&](const Link&) {
      SetPolicy policy;
      policy.if_absent = true;
      const auto cache = test.open();
      return must(cache.set(key_of("key"), lock::bytes_of("value"), policy)) ? 1 : 0;
    });
  }
  int count = 0;
  for (auto& child : children) count += child.wait();
  CHECK(count == 1);
}

TEST_CASE("cache: a value is read from a descriptor to its end, without the lock meanwhile") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "old");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Forked setter([&](const Link& link) {
    ::close(ends[1]);
    link.say("reading");
    return test.open().set_from(key, ends[0], "pipe", {}) ? 0 : 1;
  });
  ::close(ends[0]);
  CHECK(setter.hear() == "reading");
  const auto value = test::pattern(500'000);
  must(lock::write_all(ends[1], lock::bytes_of(value).first(300'001), "pipe"));
  // Half of it is there, and nobody has to wait.
  CHECK(cache.lock(&key, lock::Mode::exclusive, lock::Deadline::immediately(), "test"));
  CHECK(seen(cache, key) == "value: old");
  must(lock::write_all(ends[1], lock::bytes_of(value).subspan(300'001), "pipe"));
  ::close(ends[1]);
  CHECK(setter.wait() == 0);
  CHECK(value_of(cache, key) == value);
}

TEST_CASE("cache: a value that cannot be read leaves the old one and no staged file") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "old");
  const lock::Directory directory = test.outside().open();
  const auto set = cache.set_from(key_of("key"), directory.descriptor(), "the directory", {});
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().describe(), Catch::Contains("the directory"));
  CHECK(seen(cache, key_of("key")) == "value: old");
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("cache: remove says whether there was a record, fresh or not") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "value", seconds(1));
  test.clock().advance(hours(1));
  CHECK(must(cache.remove(key_of("key"), {})));
  CHECK_FALSE(must(cache.remove(key_of("key"), {})));
  CHECK_FALSE(must(cache.remove(key_of("never there"), {})));
}

TEST_CASE("cache: remove_if removes what is wanted and nothing else") {
  TestCache test;
  const auto cache = test.open();
  for (int number = 0; number < 100; ++number) put(cache, key_of("a" + std::to_string(number)), "");
  for (int number = 0; number < 7; ++number) put(cache, key_of("b" + std::to_string(number)), "");
  const auto removed =
      must(cache.remove_if([](std::string_view key) { return key.starts_with("a"); }, {}));
  CHECK(removed == 100);
  CHECK(test.count("entries") == 7);
}

TEST_CASE("cache: list shows each record once, and warns of damaged ones") {
  TestCache test;
  const auto cache = test.open();
  for (int number = 0; number < 50; ++number) {
    put(cache, key_of(std::to_string(number)), test::pattern(100), hours(number));
  }
  test::write_file(test.record(key_of("7")), "damaged");
  std::multiset<std::string> keys;
  bool sizes = true;
  must(cache.list([&](const Listed& row) {
    keys.insert(row.key);
    sizes = sizes && row.header.output_size == 100;
  }));
  CHECK(keys.size() == 49);
  CHECK(std::set<std::string>(keys.begin(), keys.end()).size() == 49);
  CHECK(sizes);
  CHECK(test.take_warnings().size() == 1);
}

TEST_CASE(
    "cache: writers give up at their deadline and say who holds the lock; readers do not wait") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  // By a process that is gone when we ask: who lives may have been the last to hold it.
  CHECK(Forked([&](const Link&) { return put(cache, key, "value") > 0 ? 0 : 1; }).wait() == 0);
  Forked holder([&](const Link& link) {
    const auto own = test.open();
    const bool whole = link.hear() == "whole";
    const auto held = own.lock(whole ? nullptr : &key, lock::Mode::exclusive,
                               lock::Deadline::never(), "the holder's command");
    link.say(held ? "held" : held.error().describe());
    return link.hear() == "go" ? 0 : 1;
  });
  holder.say(GENERATE("whole", "key"));
  REQUIRE(holder.hear() == "held");

  const auto names_holder = [&](const auto& result) {
    if (result || result.error().code != Errc::timeout) return false;
    const auto text = result.error().describe();
    return text.find("the holder's command") != std::string::npos &&
           text.find(std::to_string(holder.pid())) != std::string::npos;
  };
  SetPolicy policy;
  policy.deadline = lock::Deadline::after(milliseconds(50));
  CHECK(names_holder(cache.set(key, lock::bytes_of("second"), policy)));
  CHECK(test.count("tmp") == 0);
  CHECK(names_holder(cache.remove(key, policy)));
  CHECK(names_holder(cache.remove_if([](auto) { return true; }, policy)));
  CHECK(names_holder(cache.lock(nullptr, lock::Mode::exclusive, policy.deadline, "test")));
  CHECK(names_holder(cache.lock(&key, lock::Mode::shared, policy.deadline, "test")));
  CHECK(seen(cache, key) == "value: value");
  CHECK(must(cache.run(key, {{"false"}, {}}, {}, {})).how == refresh::How::hit);
  holder.kill();
  CHECK(must(cache.remove(key, {})));
}

TEST_CASE("cache: different keys do not wait for each other") {
  if (!lock::backend.ranges) return;
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const auto held = must(cache.lock(&key, lock::Mode::exclusive, lock::Deadline::never(), "test"));
  SetPolicy policy;
  policy.deadline = lock::Deadline::immediately();
  CHECK(cache.set(key_of("another"), lock::bytes_of("value"), policy));
  CHECK_FALSE(cache.set(key, lock::bytes_of("value"), policy));
}

TEST_CASE("cache: a lock file that was replaced while a lock is held shows") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const auto held = must(cache.lock(&key, lock::Mode::exclusive, lock::Deadline::never(), "test"));
  CHECK(held.still_valid());
  fs::remove(test.file("cache.lock"));
  const auto lost = held.still_valid();
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code == Errc::lease_lost);
}

}  // namespace cachectl
