// Leaders that die, lose their lock or take too long.
#include <signal.h>
#include <sys/prctl.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/refresh/asking.hpp"

namespace cachectl::refresh {

using std::chrono::milliseconds;
using test::ask;
using test::asker;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::seen;
using test::shell;
using test::TestCache;
using test::TracedSource;
using test::wait_until;
using test::waiting_for;

TEST_CASE(
    "leader killed: exactly one of the waiters runs the source again, and never two at once") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  const auto command = source.doing("echo out");
  auto leader = asker(test, key, command);
  REQUIRE(wait_until([&] { return source.count("start") == 1; }));
  std::vector<Forked> waiters;
  for (int number = 0; number < 6; ++number) waiters.push_back(asker(test, key, command));
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 6; }));
  leader.kill();
  REQUIRE(wait_until([&] { return source.count("start") == 2; }));
  source.open_gate();
  int ran = 0;
  int shared = 0;
  for (const auto& waiter : waiters) {
    const auto answer = waiter.hear();
    ran += answer == "ran 0 [out\n] []" ? 1 : 0;
    shared += answer == "shared 0 [out\n] []" || answer == "hit 0 [out\n] []" ? 1 : 0;
  }
  CHECK(ran == 1);
  CHECK(shared == 5);
  CHECK(source.log() == std::vector<std::string>{"start", "start", "end"});
  must(cache.collect({}));
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("leader killed: what its source left running keeps the lock until it has ended") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  const auto log = source.log_path();
  // The grandchild does not die with its parent, as nothing tells it to.
  const auto gate = test.outside().file("opened");
  const auto command =
      shell("echo start >> " + log + "; (echo child >> " + log + "; until [ -e " + gate +
            " ]; do sleep 0.02; done; echo left >> " + log + ") & wait; echo out");
  auto leader = asker(test, key, command);
  REQUIRE(wait_until([&] { return source.count("start") == 1; }));
  auto waiter = asker(test, key, command);
  REQUIRE(wait_until([&] { return waiting_for(test.file("cache.lock")) == 1; }));
  REQUIRE(wait_until([&] { return source.count("child") == 1; }));
  leader.kill();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(source.count("start") == 1);
  write_file(gate, "");
  CHECK(waiter.hear() == "ran 0 [out\n] []");
  CHECK(source.log() ==
        std::vector<std::string>{"start", "child", "left", "start", "child", "left"});
}

TEST_CASE("leader killed: the source dies with it") {
  TestCache test;
  const TracedSource source(test);
  auto leader = asker(test, key_of("key"),
                      {{"sh", "-c", "echo $$ > " + source.log_path() + "; exec sleep 1000"}, {}});
  REQUIRE(wait_until([&] { return source.log().size() == 1; }));
  const auto pid = source.log()[0];
  leader.kill();
  CHECK(wait_until([&] {
    std::ifstream stat("/proc/" + pid + "/stat");
    std::string id, name, state;
    stat >> id >> name >> state;
    return state.empty() || state == "Z" || state == "X";
  }));
}

TEST_CASE("deadline: a waiter gives up, says who holds the lock, and runs nothing") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  auto leader = asker(test, key, source.doing("echo out"));
  REQUIRE(wait_until([&] { return source.count("start") == 1; }));
  RunPolicy policy;
  policy.deadline = lock::Deadline::after(milliseconds(50));
  const auto result = cache.run(key, shell("echo mine"), policy, {});
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Errc::timeout);
  CHECK_THAT(result.error().describe(), Catch::Contains(std::to_string(leader.pid())) &&
                                            Catch::Contains("sh -c") && Catch::Contains("'key'"));
  source.open_gate();
  CHECK(leader.hear() == "ran 0 [out\n] []");
  CHECK(source.count("start") == 1);
}

TEST_CASE("deadline: with on_timeout run the source runs uncached, with a warning") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  auto leader = asker(test, key, source.doing("echo out"));
  REQUIRE(wait_until([&] { return source.count("start") == 1; }));
  RunPolicy policy;
  policy.deadline = lock::Deadline::after(milliseconds(50));
  policy.on_timeout = OnTimeout::run;
  CHECK(ask(cache, key, shell("echo mine; echo err >&2; exit 5"), policy) ==
        "uncached 5 [mine\n] [err\n]");
  CHECK_THAT(test.take_warnings().at(0), Catch::Contains("running uncached"));
  CHECK(seen(cache, key) == "miss");
  source.open_gate();
  CHECK(leader.hear() == "ran 0 [out\n] []");
}

TEST_CASE("lease lost: a leader whose lock file was replaced does not publish, and says so") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const TracedSource source(test);
  put(cache, key, "old");
  RunPolicy policy;
  policy.force = true;
  auto leader = asker(test, key, source.doing("echo new"), policy);
  REQUIRE(wait_until([&] { return source.count("start") == 1; }));
  std::filesystem::remove(test.file("cache.lock"));
  SECTION("nobody has made another") {}
  SECTION("another one is in use") { put(cache, key, "newer"); }
  source.open_gate();
  const auto answer = leader.hear();
  CHECK_THAT(answer, Catch::StartsWith("ran 0 [new\n] [] not stored: ") &&
                         Catch::Contains("was replaced while it was locked"));
  CHECK(seen(cache, key) != "value: new\n");
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("a leader that is stopped keeps its lock, however long") {
  TestCache test;
  const auto cache = test.open();
  const TracedSource source(test);
  const auto key = key_of("key");
  put(cache, key, "old");
  RunPolicy policy;
  policy.force = true;
  auto leader = asker(test, key, source.doing("echo new"), policy);
  REQUIRE(wait_until([&] { return source.count("start") == 1; }));
  leader.stop();
  test.clock().advance(std::chrono::hours(1'000));
  SetPolicy set;
  set.deadline = lock::Deadline::after(milliseconds(50));
  CHECK(cache.set(key, lock::bytes_of("mine"), set).error().code == Errc::timeout);
  // Readers and the clean-up go on meanwhile.
  CHECK(seen(cache, key) == "value: old");
  CHECK(must(cache.collect({})).complete);
  leader.send(SIGCONT);
  source.open_gate();
  CHECK(leader.hear() == "ran 0 [new\n] []");
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("read-only: a cache that may only be read serves hits and runs the rest uncached") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("stored"), "value");
  namespace fs = std::filesystem;
  fs::permissions(test.outside().path(), fs::perms::all);
  const auto nobody = [&](const Key& key) {
    Forked child([&](const Link& link) {
      if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 1;
      CacheOptions options;
      options.root = test.root();
      options.sharing = store::Sharing::group;  // it belongs to another user
      options.clock = &test.clock();
      const auto own = must(Cache::open(std::move(options)));
      link.say(ask(own, key, shell("echo mine; exit 7")));
      return 0;
    });
    return child.hear();
  };
  if (::geteuid() != 0) {
    WARN("NOT TESTED: reading the cache of another user takes root");
    return;
  }
  for (const auto& item : fs::recursive_directory_iterator(test.root())) {
    fs::permissions(item, item.is_directory() ? fs::perms(0755) : fs::perms(0644));
  }
  fs::permissions(test.root(), fs::perms(0755));
  CHECK(nobody(key_of("stored")) == "hit 0 [value] []");
  CHECK(nobody(key_of("another")) == "uncached 7 [mine\n] []");
}

}  // namespace cachectl::refresh
