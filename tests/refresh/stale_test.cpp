// What is served when the value is stale or its source fails.
#include <signal.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <set>

#include "tests/refresh/asking.hpp"

namespace cachectl::test {

namespace {

using refresh::Child;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// One key, whose value is fresh for ten seconds.
struct ShortLived {
  ShortLived() { policy.windows.ttl = seconds(10); }

  TestCache files;
  Cache cache = files.open();
  Key key = key_of("key");
  RunPolicy policy;
};

/// Adds a line to a file, then does the rest.
Source counted(const TestCache& test, const std::string& rest) {
  auto& outside = const_cast<TestCache&>(test).outside();
  return shell("echo start >> " + outside.file("starts") + "\n" + rest);
}

std::size_t starts(TestCache& test) {
  const auto file = test.outside().file("starts");
  if (!std::filesystem::exists(file)) return 0;
  const auto text = content_of(file);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

store::Generation generation_of(const Cache& cache, const Key& key) {
  return must(cache.inspect(key)).entry->header().generation;
}

}  // namespace

TEST_CASE_METHOD(ShortLived, "stale: served at once, with word that a refresh is due") {
  policy.windows.stale_while_revalidate = seconds(20);
  CHECK(ask(cache, key, counted(files, "echo one"), policy) == "ran 0 [one\n] []");
  files.clock().advance(seconds(10) - std::chrono::nanoseconds(1));
  CHECK(ask(cache, key, counted(files, "echo two"), policy) == "hit 0 [one\n] []");
  files.clock().advance(std::chrono::nanoseconds(1));
  CHECK(ask(cache, key, counted(files, "echo two"), policy) == "stale 0 [one\n] [] due");
  CHECK(starts(files) == 1);
  files.clock().advance(seconds(20));
  CHECK(ask(cache, key, counted(files, "echo two"), policy) == "ran 0 [two\n] []");
}

TEST_CASE_METHOD(ShortLived,
                 "stale: a refresh behind the caller's back makes the value anew, once") {
  policy.windows.stale_while_revalidate = seconds(20);
  CHECK(ask(cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  files.clock().advance(seconds(10));
  const auto served = generation_of(cache, key);
  const auto gate = files.outside().file("gate");
  const auto source = counted(files, "while [ ! -e " + gate + " ]; do sleep 0.02; done; echo two");
  CHECK(must(cache.refresh_behind(key, source, policy, served, Child::orphan)));
  REQUIRE(wait_until([&] { return starts(files) == 1; }));
  CHECK_FALSE(
      must(cache.refresh_behind(key, source, policy, served, Child::orphan)));  // one is at it
  CHECK(ask(cache, key, source, policy) == "stale 0 [one\n] [] due");
  write_file(gate, "");
  REQUIRE(wait_until([&] { return generation_of(cache, key) != served; }));
  CHECK(ask(cache, key, source, policy) == "hit 0 [two\n] []");
  // When it is over, the lock is free.
  must(cache.lock(&key, lock::Mode::exclusive, lock::Deadline::never(), "test")).release();
  static_cast<void>(cache.refresh_behind(key, source, policy, served, Child::ours));  // it was done
  ::wait(nullptr);
  CHECK(starts(files) == 1);
}

TEST_CASE_METHOD(ShortLived, "stale: a fresh value is refreshed early") {
  policy.windows.refresh_threshold = seconds(4);
  policy.windows.refresh_probability = 1;
  CHECK(ask(cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  files.clock().advance(seconds(5));
  CHECK(ask(cache, key, shell("echo two"), policy) == "hit 0 [one\n] []");
  files.clock().advance(seconds(1));
  CHECK(ask(cache, key, shell("echo two"), policy) == "hit 0 [one\n] [] due");
}

TEST_CASE_METHOD(ShortLived,
                 "stale-if-error: a failure within the window is answered by the old value") {
  policy.windows.stale_if_error = hours(1);
  CHECK(ask(cache, key, shell("echo good"), policy) == "ran 0 [good\n] []");
  files.clock().advance(seconds(70));
  const auto failing = shell("echo half; echo why >&2; exit 22");
  CHECK(ask(cache, key, failing, policy) ==
        "stale 0 [good\n] [why\n] failed: the source failed with status 22; serving the value of "
        "1m10s ago");
  policy.failure.on_error = OnError::fail;
  CHECK(ask(cache, key, failing, policy) == "ran 22 [half\n] [why\n]");
  policy.failure.on_error = OnError::stale;
  files.clock().advance(hours(1));
  CHECK(ask(cache, key, failing, policy) == "ran 22 [half\n] [why\n]");
  policy.failure.on_error = OnError::last_good;
  CHECK(ask(cache, key, failing, policy) ==
        "stale 0 [good\n] [why\n] failed: the source failed with status 22; serving the value of "
        "1h1m ago");
  policy.force = true;
  CHECK(ask(cache, key, failing, policy) == "ran 22 [half\n] [why\n]");
}

TEST_CASE_METHOD(ShortLived,
                 "stale-if-error: all who wait for a failing source get the old value") {
  policy.windows.stale_if_error = hours(1);
  CHECK(ask(cache, key, shell("echo good"), policy) == "ran 0 [good\n] []");
  files.clock().advance(seconds(70));
  const TracedSource source(files);
  const auto failing = source.doing("echo no route >&2; (exit 7)");
  std::vector<Forked> askers;
  for (int count = 0; count < 8; ++count) askers.push_back(asker(files, key, failing, policy));
  REQUIRE(wait_until([&] { return waiting_for(files.file("cache.lock")) == 7; }));
  source.open_gate();
  int leaders = 0;
  for (auto& each : askers) {
    const auto heard = each.hear();
    CAPTURE(heard);
    CHECK(heard.starts_with("stale 0 [good\n]"));
    CHECK(heard.find("the source failed with status 7") != std::string::npos);
    if (heard.find("[no route\n]") != std::string::npos) {
      ++leaders;
    } else {
      CHECK(heard.find("status 7: no route; serving") != std::string::npos);
    }
  }
  CHECK(leaders == 1);
  CHECK(source.count("start") == 1);
}

TEST_CASE_METHOD(ShortLived, "stale-if-error: a source that cannot be started is a failure") {
  policy.windows.stale_if_error = hours(1);
  const Source missing{{"no-such-command-anywhere"}, {}};
  CHECK(ask(cache, key, missing, policy) == "error: no-such-command-anywhere: command not found");
  put(cache, key, "good", seconds(10));
  files.clock().advance(seconds(70));
  CHECK(ask(cache, key, missing, policy) ==
        "stale 0 [good] [] failed: no-such-command-anywhere: command not found; serving the value "
        "of 1m10s ago");
}

TEST_CASE_METHOD(ShortLived, "failure: one that has a TTL is not tried again for as long") {
  policy.windows.ttl_by_status = {{22, seconds(30)}};
  const auto failing = counted(files, "echo no; exit 22");
  CHECK(ask(cache, key, failing, policy) == "ran 22 [no\n] []");
  files.clock().advance(seconds(30) - std::chrono::nanoseconds(1));
  CHECK(ask(cache, key, failing, policy) == "shared 22 [no\n] []");
  CHECK(starts(files) == 1);
  const auto warnings = files.take_warnings();
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] == "the source failed with status 22 (not tried again for <1ms)");
  files.clock().advance(std::chrono::nanoseconds(1));
  CHECK(ask(cache, key, failing, policy) == "ran 22 [no\n] []");
  CHECK(ask(cache, key, counted(files, "exit 23"), policy) == "shared 22 [no\n] []");
  CHECK_FALSE(must(cache.remove(key, {})));  // there is no value, and the failure is forgotten
  CHECK(ask(cache, key, failing, policy) == "ran 22 [no\n] []");
  policy.force = true;
  CHECK(ask(cache, key, counted(files, "exit 23"), policy) == "ran 23 [] []");
  policy.force = false;
  CHECK(ask(cache, key, counted(files, "echo yes"), policy) == "ran 0 [yes\n] []");
}

TEST_CASE_METHOD(ShortLived,
                 "breaker: opens after failures in a row, tries once, closes with a success") {
  policy.failure.breaker_failures = 3;
  policy.failure.breaker_cool_down = minutes(1);
  const auto failing = counted(files, "exit 9");
  for (int time = 0; time < 3; ++time) CHECK(ask(cache, key, failing, policy) == "ran 9 [] []");
  CHECK(ask(cache, key, failing, policy) == "shared 9 [] []");
  CHECK(files.take_warnings() ==
        std::vector<std::string>{
            "the source failed with status 9, 3 times in a row (not tried again for 1m)"});
  files.clock().advance(minutes(1));
  CHECK(ask(cache, key, failing, policy) == "ran 9 [] []");     // half open: one trial
  CHECK(ask(cache, key, failing, policy) == "shared 9 [] []");  // and open again
  files.clock().advance(minutes(1));
  CHECK(starts(files) == 4);
  CHECK(ask(cache, key, counted(files, "echo up"), policy) == "ran 0 [up\n] []");
  files.clock().advance(seconds(10));
  for (int time = 0; time < 3; ++time) CHECK(ask(cache, key, failing, policy) == "ran 9 [] []");
  CHECK(ask(cache, key, failing, policy) == "shared 9 [] []");
}

TEST_CASE_METHOD(ShortLived,
                 "breaker: with an old value at hand, it is served while the circuit is open") {
  policy.windows.stale_if_error = hours(1);
  policy.windows.stale_while_revalidate = seconds(20);
  policy.failure.breaker_failures = 1;
  CHECK(ask(cache, key, shell("echo good"), policy) == "ran 0 [good\n] []");
  files.clock().advance(minutes(1));
  const auto failing = counted(files, "exit 9");
  CHECK(ask(cache, key, failing, policy).starts_with("stale 0 [good\n] [] failed"));
  CHECK(ask(cache, key, failing, policy).starts_with("stale 0 [good\n] [] failed"));
  CHECK_FALSE(
      must(cache.refresh_behind(key, failing, policy, generation_of(cache, key), Child::orphan)));
  CHECK(starts(files) == 1);
}

TEST_CASE_METHOD(ShortLived, "retries: at once, by the leader, and only the last output counts") {
  policy.failure.retries = 2;
  policy.failure.retry_delay = milliseconds(20);
  const auto third =
      counted(files, "echo try; [ $(wc -l < " + files.outside().file("starts") + ") -ge 3 ]");
  CHECK(ask(cache, key, third, policy) == "ran 0 [try\n] []");
  CHECK(starts(files) == 3);
  CHECK(files.take_warnings().size() == 2);
  must(cache.remove(key, {}));
  CHECK(ask(cache, key, counted(files, "echo bad; exit 4"), policy) == "ran 4 [bad\n] []");
  CHECK(starts(files) == 6);
  CHECK(files.count("tmp") == 0);
}

TEST_CASE_METHOD(ShortLived,
                 "source timeout: the whole process group ends, and that is a failure") {
  const auto pids = files.outside().file("pids");
  auto source =
      shell("echo half; sleep 1000 & echo $! > " + pids + "; echo $$ >> " + pids + "; wait");
  SECTION("that holds its streams") {}
  SECTION("that has closed them") {
    source = shell("sleep 1000 > /dev/null 2>&1 & echo $! > " + pids + "; echo $$ >> " + pids +
                   "; exec > /dev/null 2>&1; wait");
  }
  SECTION("that floods its output") { source = shell("echo $$ > " + pids + "; exec yes"); }
  source.longest = milliseconds(300);
  const SinkFile output;
  const auto result = must(cache.run(key, source, policy, {output.descriptor(), -1}));
  REQUIRE(result.source_failed);
  CHECK(result.source_failed->code == Errc::timeout);
  CHECK(result.status.value == 124);
  CHECK(seen(cache, key) == "miss");
  std::ifstream file(pids);
  for (pid_t pid = 0; file >> pid;) {
    CHECK(wait_until([pid] { return lock::start_ticks_of(pid) == 0; }));
  }
  CHECK(files.count("tmp") == 0);
}

TEST_CASE_METHOD(ShortLived,
                 "source timeout: one that ignores SIGTERM is killed five seconds later") {
  policy.windows.stale_if_error = hours(1);
  put(cache, key, "good", seconds(10));
  files.clock().advance(minutes(1));
  auto source = shell("trap '' TERM; while :; do sleep 0.1; done");
  source.longest = milliseconds(100);
  CHECK(ask(cache, key, source, policy) ==
        "stale 0 [good] [] failed: the source ran for longer than 100ms and was ended; serving the "
        "value of 1m ago");
}

TEST_CASE_METHOD(ShortLived, "failure: no output at all can be one") {
  CHECK(ask(cache, key, shell("true"), policy) == "ran 0 [] []");
  policy.failure.empty_is_failure = true;
  policy.windows.stale_if_error = hours(1);
  files.clock().advance(seconds(10));
  CHECK(ask(cache, key, shell("true"), policy) ==
        "stale 0 [] [] failed: the source ended with status 0 and printed nothing; serving the "
        "value of 10s ago");
  must(cache.remove(key, {}));
  CHECK(ask(cache, key, shell("true"), policy) ==
        "ran 1 [] [] failed: the source ended with status 0 and printed nothing");
  CHECK(seen(cache, key) == "miss");
}

TEST_CASE("freshness: a value that nobody reads expires, also without access times") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  RunPolicy policy;
  policy.windows.ttl = hours(24);
  policy.windows.expire_after_access = hours(1);
  CHECK(ask(cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  for (int read = 0; read < 3; ++read) {
    test.clock().advance(minutes(50));
    CHECK(ask(cache, key, shell("echo two"), policy) == "hit 0 [one\n] []");
  }
  test.clock().advance(minutes(61));
  CHECK(ask(cache, key, shell("echo two"), policy) == "ran 0 [two\n] []");
}

TEST_CASE_METHOD(ShortLived, "freshness: what is stored carries its windows and a drawn TTL") {
  policy.windows.jitter = 0.5;
  policy.windows.stale_while_revalidate = seconds(20);
  policy.windows.stale_if_error = seconds(30);
  std::set<std::int64_t> lives;
  for (int index = 0; index < 8; ++index) {
    const auto each = key_of("key" + std::to_string(index));
    CHECK(ask(cache, each, shell("true"), policy) == "ran 0 [] []");
    const auto header = must(cache.inspect(each)).entry->header();
    const auto life = header.expires - header.created;
    CHECK(life >= seconds(5));
    CHECK(life < seconds(10));
    lives.insert(life.count());
    CHECK(header.stale_while_revalidate == seconds(20));
    CHECK(header.stale_if_error == seconds(30));
  }
  CHECK(lives.size() == 8);
}

TEST_CASE_METHOD(ShortLived, "stale: whoever refreshes dies, and the next one asked sees to it") {
  policy.windows.stale_while_revalidate = hours(1);
  CHECK(ask(cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  files.clock().advance(seconds(10));
  const auto served = generation_of(cache, key);
  const auto pids = files.outside().file("pids");
  const auto hanging =
      shell("echo $PPID > " + pids + ".new; mv " + pids + ".new " + pids + "; exec sleep 1000");
  CHECK(must(cache.refresh_behind(key, hanging, policy, served, Child::orphan)));
  REQUIRE(wait_until([&] { return std::filesystem::exists(pids); }));
  const pid_t refresher = std::stoi(content_of(pids));
  REQUIRE(::kill(refresher, SIGKILL) == 0);
  CHECK(ask(cache, key, hanging, policy) == "stale 0 [one\n] [] due");
  REQUIRE(wait_until([&] {
    return must(cache.refresh_behind(key, shell("echo two"), policy, served, Child::orphan));
  }));
  REQUIRE(wait_until([&] { return seen(cache, key) == "value: two\n"; }));
  CHECK(must(cache.collect({})).problems.empty());
  CHECK(files.count("tmp") == 0);
}

}  // namespace cachectl::test
