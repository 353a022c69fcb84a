#include "src/refresh/coalesce.hpp"

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "tests/refresh/asking.hpp"

namespace cachectl::refresh {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ask;
using test::asker;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::seen;
using test::shell;
using test::TestCache;
using test::TracedSource;
using test::wait_until;
using test::waiting_for;

TEST_CASE("run: a miss runs the source, a fresh hit does not, and both give the same") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  source.open_gate();
  const auto key = key_of("key");
  const auto command = source.doing("echo out; echo err >&2");
  CHECK(ask(cache, key, command) == "ran 0 [out\n] [err\n]");
  CHECK(ask(cache, key, command) == "hit 0 [out\n] [err\n]");
  CHECK(source.count("start") == 1);
  CHECK(seen(cache, key) == "value: out\n");
  CHECK(test.count("tmp") == 0);
  CHECK(test.count("attempts") == 0);
}

TEST_CASE("run: an expired or removed value, and force, run the source again") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  source.open_gate();
  const auto key = key_of("key");
  const auto command = source.doing("true");
  RunPolicy policy;
  policy.windows.ttl = seconds(10);
  CHECK(ask(cache, key, command, policy) == "ran 0 [] []");
  test.clock().advance(seconds(10));
  CHECK(ask(cache, key, command, policy) == "ran 0 [] []");
  CHECK(ask(cache, key, command, policy) == "hit 0 [] []");
  must(cache.remove(key, {}));
  CHECK(ask(cache, key, command, policy) == "ran 0 [] []");
  policy.force = true;
  CHECK(ask(cache, key, command, policy) == "ran 0 [] []");
  CHECK(source.count("start") == 4);
}

TEST_CASE("run: a value older than the caller's ttl is not served, whatever it was stored with") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  RunPolicy policy;
  policy.windows.ttl = std::chrono::hours(1);
  CHECK(ask(cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  test.clock().advance(seconds(30));
  CHECK(ask(cache, key, shell("echo two"), policy) == "hit 0 [one\n] []");
  policy.windows.ttl = seconds(30);
  CHECK(ask(cache, key, shell("echo two"), policy) == "ran 0 [two\n] []");
}

TEST_CASE("run: a longer ttl of the caller does not revive what has expired") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  RunPolicy policy;
  policy.windows.ttl = seconds(10);
  CHECK(ask(cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  test.clock().advance(seconds(10));
  policy.windows.ttl = std::chrono::hours(1);
  CHECK(ask(cache, key, shell("echo two"), policy) == "ran 0 [two\n] []");
}

TEST_CASE("run: threads and processes that ask at once run the source once") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  const auto command = source.doing("echo out; echo err >&2");
  std::vector<Forked> processes;
  for (int number = 0; number < 4; ++number) processes.push_back(asker(test, key, command));
  std::vector<std::string> answers(20);
  std::vector<std::thread> threads;
  for (auto& answer : answers) {
    threads.emplace_back([&] { answer = ask(cache, key, command); });
  }
  CHECK(wait_until([&] { return waiting_for(test.file("cache.lock")) == 23; }));
  source.open_gate();
  for (auto& thread : threads) thread.join();
  for (auto& process : processes) answers.push_back(process.hear());

  CHECK(std::count(answers.begin(), answers.end(), "ran 0 [out\n] [err\n]") == 1);
  CHECK(std::count(answers.begin(), answers.end(), "shared 0 [out\n] [err\n]") == 23);
  CHECK(source.log() == std::vector<std::string>{"start", "end"});
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("run: a failure is shared with those who waited, and served to nobody later") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  const auto command = source.doing("echo out; echo err >&2; (exit 3)");
  std::vector<Forked> askers;
  for (int number = 0; number < 8; ++number) askers.push_back(asker(test, key, command));
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 7; }));
  source.open_gate();
  int ran = 0;
  int shared = 0;
  for (const auto& one : askers) {
    const auto answer = one.hear();
    ran += answer == "ran 3 [out\n] [err\n]" ? 1 : 0;
    shared += answer == "shared 3 [out\n] [err\n]" ? 1 : 0;
  }
  CHECK(ran == 1);
  CHECK(shared == 7);
  CHECK(source.count("start") == 1);
  CHECK(seen(cache, key) == "miss");
  CHECK(ask(cache, key, command) == "ran 3 [out\n] [err\n]");
  CHECK(source.count("start") == 2);
}

TEST_CASE("run: a failed refresh leaves the value that is there") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  CHECK(ask(cache, key, shell("echo good")) == "ran 0 [good\n] []");
  RunPolicy policy;
  policy.force = true;
  CHECK(ask(cache, key, shell("echo bad; exit 1"), policy) == "ran 1 [bad\n] []");
  CHECK(ask(cache, key, shell("echo never")) == "hit 0 [good\n] []");
}

TEST_CASE("run: without a ttl nothing is stored, and those who waited share the result") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  RunPolicy policy;
  policy.windows.ttl = seconds(0);
  const auto command = source.doing("echo out");
  std::vector<Forked> askers;
  for (int number = 0; number < 4; ++number) askers.push_back(asker(test, key, command, policy));
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 3; }));
  source.open_gate();
  int shared = 0;
  for (const auto& one : askers) shared += one.hear() == "shared 0 [out\n] []" ? 1 : 0;
  CHECK(shared == 3);
  CHECK(test.count("entries") == 0);
  CHECK(ask(cache, key, command, policy) == "ran 0 [out\n] []");
}

TEST_CASE("run: those who force at once share one run") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  test::put(cache, key, "old");
  RunPolicy policy;
  policy.force = true;
  std::vector<Forked> askers;
  for (int number = 0; number < 4; ++number) {
    askers.push_back(asker(test, key, source.doing("echo new"), policy));
  }
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 3; }));
  source.open_gate();
  int shared = 0;
  for (const auto& one : askers) shared += one.hear() == "shared 0 [new\n] []" ? 1 : 0;
  CHECK(shared == 3);
  CHECK(source.count("start") == 1);
}

TEST_CASE("run: which statuses are stored is the caller's choice; a signal never is") {
  TestCache test;
  const auto cache = test.open();
  RunPolicy policy;
  policy.store.only_success = false;
  policy.store.never_these = {3, 4};
  const auto twice = [&](const std::string& name, const std::string& script) {
    const auto first = ask(cache, key_of(name), shell(script), policy);
    return first + ", " + ask(cache, key_of(name), shell(script), policy);
  };
  CHECK(twice("0", "exit 0") == "ran 0 [] [], hit 0 [] []");
  CHECK(twice("2", "exit 2") == "ran 2 [] [], hit 2 [] []");
  CHECK(twice("3", "exit 3") == "ran 3 [] [], ran 3 [] []");
  CHECK(twice("TERM", "kill -TERM $$") == "ran 143 [] [], ran 143 [] []");
  CHECK(twice("143", "exit 143") == "ran 143 [] [], hit 143 [] []");
}

TEST_CASE("run: a command that is not there or not to be run is an error, and nothing stays") {
  TestCache test;
  const auto cache = test.open();
  const auto missing = cache.run(key_of("key"), {{"no-such-command-at-all"}, {}}, {}, {});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
  const auto directory = cache.run(key_of("key"), {{"/tmp"}, {}}, {}, {});
  REQUIRE_FALSE(directory);
  CHECK(directory.error().code == Errc::not_runnable);
  CHECK(test.count("tmp") == 0);
  CHECK(ask(cache, key_of("key"), shell("echo out")) == "ran 0 [out\n] []");
}

TEST_CASE("run: the source knows its key and its generation, and has nothing to read") {
  TestCache test;
  const auto cache = test.open();
  const auto answer = ask(cache, key_of("the key"),
                          shell("echo $CACHECTL_KEY $CACHECTL_GENERATION; cat; echo $MINE"));
  auto found = must(cache.inspect(key_of("the key")));
  REQUIRE(found.entry);
  CHECK(answer ==
        "ran 0 [the key " + std::to_string(found.entry->header().generation) + "\n\n] []");
}

TEST_CASE("run: a damaged value is a miss with a warning, and made again") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const std::size_t size = GENERATE(std::size_t{10}, std::size_t{100'000});
  test::put(cache, key, test::pattern(size));
  auto record = test::content_of(test.record(key));
  record.back() = static_cast<char>(record.back() ^ 1);
  test::write_file(test.record(key), record);
  CHECK(ask(cache, key, shell("echo new")) == "ran 0 [new\n] []");
  CHECK_FALSE(test.take_warnings().empty());
  CHECK(seen(cache, key) == "value: new\n");
}

}  // namespace cachectl::refresh
