#include "src/telemetry/observer.hpp"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <thread>

#include "src/lease/lease.hpp"
#include "tests/refresh/asking.hpp"

namespace cachectl::test {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using telemetry::Happening;
using telemetry::What;

namespace {

/// Writes a line for each happening, from whichever process: opens the file anew each time.
class Recorder final : public telemetry::Observer {
 public:
  explicit Recorder(std::string file) : file_(std::move(file)) {}
  void happened(const Happening& what) override {
    std::ostringstream line;
    line << telemetry::name_of(what.what) << ' ' << (what.key.empty() ? "-" : what.key) << ' '
         << what.bytes << ' ' << what.status << ' ' << (what.generation != 0 ? "g" : "-") << ' '
         << (what.saved.count() > 0 ? "saved" : "-") << ' ' << what.duration.count() << '\n';
    write(line.str());
  }
  void opened(const lock::Directory& root, mode_t /*file_mode*/) override {
    write("opened " + root.path() + "\n");
  }
  void left_caller() override { write("left_caller\n"); }

 private:
  void write(const std::string& line) { std::ofstream(file_, std::ios::app) << line << std::flush; }
  std::string file_;
};

class Watched {
 public:
  Watched() : log_(test.outside().file("log")), cache(open()) {}

  TestCache test;

 private:
  std::string log_;

 public:
  Cache cache;

  /// On a cache that exists.
  [[nodiscard]] Cache open() {
    test.open_root();
    auto opened = test.open({std::make_shared<Recorder>(log_)});
    static_cast<void>(take());
    return opened;
  }

  /// What has happened since the last call, without the durations.
  [[nodiscard]] std::vector<std::string> take() {
    std::vector<std::string> lines;
    for (const auto& line : read()) lines.push_back(line.substr(0, line.rfind(' ')));
    write_file(log_, "");
    return lines;
  }
  [[nodiscard]] long count(const std::string& what) const {
    const auto lines = read();
    return std::count_if(lines.begin(), lines.end(),
                         [&](const auto& line) { return line.starts_with(what + " "); });
  }
  /// Of the first of its kind.
  [[nodiscard]] nanoseconds duration(const std::string& what) const {
    for (const auto& line : read()) {
      if (line.starts_with(what + " ")) {
        return nanoseconds(std::stoll(line.substr(line.rfind(' ') + 1)));
      }
    }
    throw std::runtime_error("no " + what);
  }

 private:
  [[nodiscard]] std::vector<std::string> read() const {
    std::istringstream text(content_of(log_));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("observer: a miss, the run of its source, and the hit after it are told once each") {
  Watched watched;
  const auto key = key_of("key");
  CHECK(ask(watched.cache, key, shell("sleep 0.05; echo 12345")) == "ran 0 [12345\n] []");
  CHECK(watched.duration("source_ended") >= milliseconds(50));
  CHECK(watched.duration("lock_released") >= milliseconds(50));
  CHECK(watched.take() == Lines{"miss key 0 0 - -", "lock_acquired key 0 0 - -",
                                "source_started key 0 0 g -", "source_ended key 6 0 g -",
                                "published key 6 0 g -", "lock_released key 0 0 - -"});
  CHECK(ask(watched.cache, key, shell("false")) == "hit 0 [12345\n] []");
  CHECK(watched.take() == Lines{"hit key 6 0 g saved"});
  CHECK(must(watched.cache.get(key)));
  CHECK(must(watched.cache.get_to(key, SinkFile().descriptor(), "sink")));
  CHECK(watched.duration("hit") > nanoseconds(0));
  CHECK(watched.take() == Lines{"hit key 6 0 g saved", "hit key 6 0 g saved"});
  CHECK_FALSE(must(watched.cache.get(key_of("other"))));
  CHECK_FALSE(must(watched.cache.get_to(key_of("other"), -1, "none")));
  CHECK(watched.take() == Lines{"miss other 0 0 - -", "miss other 0 0 - -"});
}

TEST_CASE("observer: is told of the cache before what happens in it, once it is there") {
  TestCache test;
  const auto log = test.outside().file("log");
  const auto cache = test.open({std::make_shared<Recorder>(log)});
  CHECK(value_of(cache, key_of("key")) == std::nullopt);
  CHECK_THAT(content_of(log), Catch::StartsWith("miss key"));
  put(cache, key_of("key"), "value");
  CHECK_THAT(content_of(log), Catch::Contains("\nopened " + test.root() + "\nlock_acquired key"));
}

TEST_CASE("observer: those who shared a run are told apart from the one who made it") {
  Watched watched;
  const TracedSource source(watched.test);
  std::vector<std::thread> threads;
  for (int number = 0; number < 5; ++number) {
    threads.emplace_back([&] {
      [[maybe_unused]] const auto answer =
          ask(watched.cache, key_of("key"), source.doing("echo out"));
    });
  }
  CHECK(wait_until([&] { return waiting_for(watched.test.file("cache.lock")) == 4; }));
  source.open_gate();
  for (auto& thread : threads) thread.join();
  CHECK(watched.count("miss") == 5);
  CHECK(watched.count("shared") == 4);
  CHECK(watched.count("source_started") == 1);
  CHECK(watched.count("lock_acquired") == 5);
  CHECK(watched.count("lock_released") == 1);
  CHECK(watched.count("published") == 1);
}

TEST_CASE("observer: each failure is told by its kind") {
  Watched watched;
  const auto key = key_of("key");
  RunPolicy policy;
  Source source = shell("exit 9");
  std::string expected;
  SECTION("a status") { expected = "failed_status key 0 9 g -"; }
  SECTION("a timeout") {
    source = shell("exec sleep 100");
    source.longest = milliseconds(50);
    expected = "failed_timeout key 0 143 g -";
  }
  SECTION("nothing printed") {
    source = shell("true");
    policy.failure.empty_is_failure = true;
    expected = "failed_empty key 0 0 g -";
  }
  SECTION("no such program") {
    source.argv = {"/nowhere/program"};
    expected = "failed_start key 0 127 g -";
  }
  SECTION("no room for the output") {
    source = shell("head -c 300000 /dev/zero");
    // The writer is the test itself: a limit of its own, and back.
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{100'000, before.rlim_max};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto result = watched.cache.run(key, source, policy, {});
    ::setrlimit(RLIMIT_FSIZE, &before);
    CHECK(must(std::move(result)).not_stored);
    CHECK(watched.count("failed_store") == 1);
    CHECK(watched.count("published") == 0);
    return;
  }
  [[maybe_unused]] const auto answer = ask(watched.cache, key, source, policy);
  long failures = 0;
  const auto lines = watched.take();
  for (const auto& line : lines) failures += line.starts_with("failed_") ? 1 : 0;
  CHECK(failures == 1);
  CHECK_THAT(lines, Catch::VectorContains(expected));
}

TEST_CASE("observer: a refresh behind the caller is told by the process that does it") {
  Watched watched;
  const auto key = key_of("key");
  RunPolicy policy;
  policy.windows.ttl = seconds(10);
  policy.windows.stale_while_revalidate = seconds(20);
  CHECK(ask(watched.cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  std::string kind = "stale_refresh";
  SECTION("of a stale value") {
    watched.test.clock().advance(seconds(10));
    static_cast<void>(watched.take());
    CHECK(ask(watched.cache, key, shell("true"), policy) == "stale 0 [one\n] [] due");
    CHECK(watched.take() == Lines{"stale_hit key 4 0 g saved"});
  }
  SECTION("of a fresh one, early") {
    static_cast<void>(watched.take());
    kind = "early_refresh";
  }
  const auto generation = must(watched.cache.inspect(key)).entry->header().generation;
  CHECK(must(watched.cache.refresh_behind(key, shell("echo two"), policy, generation,
                                          refresh::Child::orphan)));
  REQUIRE(wait_until([&] { return watched.count("refresh_ended") == 1; }));
  CHECK(watched.take() == Lines{"left_caller", "lock_acquired key 0 0 - -", kind + " key 0 0 g -",
                                "source_started key 0 0 g -", "source_ended key 4 0 g -",
                                "published key 4 0 g -", "lock_released key 0 0 - -",
                                "refresh_ended key 0 0 g -"});
}

TEST_CASE("observer: what stands in for a failure is told, remembered failures too") {
  Watched watched;
  const auto key = key_of("key");
  RunPolicy policy;
  policy.windows.ttl = seconds(10);
  policy.windows.stale_if_error = seconds(100);
  policy.failure.breaker_failures = 1;
  CHECK(ask(watched.cache, key, shell("echo one"), policy) == "ran 0 [one\n] []");
  watched.test.clock().advance(seconds(20));
  static_cast<void>(watched.take());
  CHECK_THAT(ask(watched.cache, key, shell("exit 3"), policy), Catch::StartsWith("stale 0 [one"));
  CHECK(watched.count("miss") == 1);
  CHECK(watched.count("stand_in") == 1);
  CHECK(watched.count("failed_status") == 1);
  static_cast<void>(watched.take());
  CHECK_THAT(ask(watched.cache, key, shell("exit 3"), policy), Catch::StartsWith("stale 0 [one"));
  CHECK(watched.take() == Lines{"miss key 0 0 - -", "stand_in key 4 0 g saved"});
  policy.failure.on_error = OnError::fail;
  CHECK_THAT(ask(watched.cache, key, shell("exit 3"), policy), Catch::StartsWith("shared 3"));
  CHECK(watched.count("remembered_failure") == 1);
  CHECK(watched.count("source_started") == 0);
}

TEST_CASE("observer: set, delete and gc are told with their sizes") {
  Watched watched;
  put(watched.cache, key_of("a"), "12345");
  put(watched.cache, key_of("b"), "123", seconds(1));
  CHECK(watched.count("published") == 2);
  static_cast<void>(watched.take());
  CHECK(must(watched.cache.remove(key_of("a"), {})));
  CHECK_FALSE(must(watched.cache.remove(key_of("a"), {})));
  CHECK(watched.count("removed") == 1);
  watched.test.clock().advance(std::chrono::hours(1));
  put(watched.cache, key_of("c"), "1234567");
  static_cast<void>(watched.take());
  store::GcPolicy policy;
  policy.max_entries = 0;
  SECTION("which a dry run is not") {
    policy.dry_run = store::DryRun::yes;
    must(watched.cache.collect(policy));
    CHECK(watched.take().empty());
    return;
  }
  must(watched.cache.collect(policy));
  const auto size = [](std::size_t value) { return std::to_string(128 + 1 + value); };
  CHECK(watched.take() ==
        Lines{"expired b " + size(3) + " 0 - -", "evicted c " + size(7) + " 0 - -"});
}

TEST_CASE("observer: the wait for a lock is told, with its length, whether it was granted or not") {
  Watched watched;
  const auto key = key_of("key");
  auto held = must(watched.cache.lock(&key, lock::Mode::exclusive, lock::Deadline::never(), "a"));
  CHECK_FALSE(watched.cache.lock(&key, lock::Mode::exclusive,
                                 lock::Deadline::after(milliseconds(30)), "b"));
  CHECK(watched.duration("lock_timed_out") >= milliseconds(30));
  // Who only tries has not waited.
  CHECK_FALSE(
      watched.cache.lock(nullptr, lock::Mode::exclusive, lock::Deadline::immediately(), "b"));
  CHECK(watched.take() == Lines{"lock_acquired key 0 0 - -", "lock_timed_out key 0 0 - -"});
  SECTION("released") { held.release(); }
  SECTION("left") { held.leave_to_children(); }
  CHECK(watched.duration("lock_released") >= milliseconds(30));
  CHECK(watched.take() == Lines{"lock_released key 0 0 - -"});
}

TEST_CASE("observer: a lock that outlives its taker is told released by its holder") {
  if (!lease::check_supported()) return;
  Watched watched;
  const auto key = key_of("key");
  const auto owner = must(lease::Owner::of(::getpid()));
  auto duration = nanoseconds::max();
  SECTION("by its release") {
    const auto taken = must(watched.cache.acquire(&key, lock::Mode::exclusive,
                                                  lock::Deadline::never(), owner, duration));
    must(taken.confirm());
    must(watched.cache.release(taken.id()));
    REQUIRE(wait_until([&] { return watched.count("lock_released") == 1; }));
    CHECK(watched.count("lease_acquired") == 1);
    CHECK(watched.count("lease_lost") == 0);
  }
  SECTION("by its expiry, which nobody tells twice") {
    duration = milliseconds(10);
    const auto taken = must(watched.cache.acquire(&key, lock::Mode::exclusive,
                                                  lock::Deadline::never(), owner, duration));
    must(taken.confirm());
    REQUIRE(wait_until([&] { return watched.count("lease_lost") == 1; }));
    CHECK_FALSE(watched.cache.release(taken.id()));
    CHECK(watched.count("lease_lost") == 1);
    CHECK(watched.count("lock_released") == 1);
  }
  SECTION("one that was killed is told by who finds out") {
    const auto taken = must(watched.cache.acquire(&key, lock::Mode::exclusive,
                                                  lock::Deadline::never(), owner, duration));
    must(taken.confirm());
    const auto lease = must(watched.cache.find_lease(taken.id()));
    REQUIRE(::kill(lease->description.holder, SIGKILL) == 0);
    REQUIRE(wait_until([&] { return !must(watched.cache.find_lease(taken.id()))->alive; }));
    CHECK_FALSE(watched.cache.renew(taken.id(), seconds(1)));
    CHECK(watched.count("lease_lost") == 1);
  }
}

TEST_CASE("observer: a checkout is told when its replica is ready, and a pool with none left") {
  if (!lock::backend.inheritable) return;
  Watched watched;
  const auto key = key_of("key");
  write_file(watched.test.outside().file("value"), "content");
  must(watched.cache.set_tree(key, watched.test.outside().file("value"), {}));
  const auto tree = must(watched.cache.tree(key));
  CHECK(watched.take().back() == "hit key 0 0 g -");
  pool::Options options;
  options.most = 1;
  const std::vector<Way> ways{Way::copy};
  const auto pool = must(watched.cache.pool(key, options));
  const auto now = lock::Deadline::immediately();
  auto slot = must(pool.take(0, ways, now, "a test"));
  REQUIRE(slot);
  CHECK(watched.take().empty());
  must(pool.prepare(*slot, *tree, ways, ""));
  CHECK(watched.duration("checked_out") > nanoseconds(0));
  CHECK(watched.take() == Lines{"checked_out key 0 0 g -"});
  CHECK_FALSE(must(pool.take(0, ways, lock::Deadline::after(milliseconds(20)), "another")));
  CHECK(watched.duration("pool_exhausted") >= milliseconds(20));
  CHECK(watched.take() == Lines{"pool_exhausted key 0 0 - -"});
  must(pool.give_back(*slot));
  CHECK(watched.take() == Lines{"checked_in key 0 0 - -"});
}

}  // namespace cachectl::test
