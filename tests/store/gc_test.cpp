#include "src/store/gc.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::seconds;
using test::content_of;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::seen;
using test::TestCache;
using test::write_file;

namespace {

GcReport collect(const Cache& cache, DryRun dry_run = DryRun::no) {
  GcPolicy policy;
  policy.dry_run = dry_run;
  return must(cache.collect(policy));
}

void set_times(const std::string& path, std::int64_t accessed, std::int64_t modified) {
  const timespec times[2] = {{accessed, 0}, {modified, 0}};
  if (::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    throw std::runtime_error("utimensat " + path);
  }
}

/// Every name below the root, with its content.
std::map<std::string, std::string> snapshot(const TestCache& test) {
  std::map<std::string, std::string> all;
  for (const auto& item : fs::recursive_directory_iterator(test.root())) {
    const bool file = item.is_regular_file() && item.path().filename() != "cache.lock";
    all[item.path()] = file ? content_of(item.path()) : "";
  }
  return all;
}

}  // namespace

TEST_CASE("gc: removes what has expired and keeps what is fresh") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("brief"), "value", seconds(10));
  put(cache, key_of("long"), "value", hours(1));
  put(cache, key_of("for ever"), "value");
  CHECK(collect(cache).expired.files == 0);
  const auto size = fs::file_size(test.record(key_of("brief")));
  test.clock().advance(seconds(10));
  const auto report = collect(cache);
  CHECK(report.expired.files == 1);
  CHECK(report.expired.bytes == size);
  CHECK(report.kept.files == 2);
  CHECK(report.complete);
  CHECK(report.problems.empty());
  CHECK_FALSE(fs::exists(test.record(key_of("brief"))));
  CHECK(seen(cache, key_of("long")) == "value: value");
  CHECK(seen(cache, key_of("for ever")) == "value: value");
}

TEST_CASE("gc: the header decides, whatever the times of the file say") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "value", hours(1));
  const std::int64_t time = GENERATE(std::int64_t{0}, std::int64_t{1}, std::int64_t{-1'000'000'000},
                                     std::int64_t{4'000'000'000}, std::int64_t{14'000'000'000});
  set_times(test.record(key_of("key")), time, time);
  const auto report = collect(cache);
  CHECK(report.kept.files == 1);
  CHECK(seen(cache, key_of("key")) == "value: value");
}

TEST_CASE("gc: on a cache that is empty or missing there is nothing to do") {
  TestCache test;
  CHECK(collect(test.open()).complete);
  CHECK_FALSE(fs::exists(test.root()));
  test.open_root();
  const auto report = collect(test.open());
  CHECK(report.complete);
  CHECK(report.problems.empty());
}

TEST_CASE("gc: a staged file goes when its creator is dead, and never before") {
  TestCache test;
  const auto root = test.open_root();
  const auto cache = test.open();
  Forked child([&](const Link& link) {
    auto writer = must(RecordWriter::create(root, key_of("key")));
    must(writer.append_output(lock::bytes_of("half a value")));
    must(writer.flush());
    link.say(writer.path());
    return link.hear() == "go" ? 0 : 1;
  });
  const auto staged = child.hear();
  REQUIRE(fs::exists(staged));
  set_times(staged, 0, 0);
  test.clock().advance(hours(24 * 365));
  const auto alive = collect(cache);
  CHECK(alive.staging.files == 0);
  CHECK(alive.busy == 1);
  REQUIRE(fs::exists(staged));

  child.kill();
  test.clock().set(SystemClock().now());
  CHECK(collect(cache, DryRun::yes).staging.files == 1);
  REQUIRE(fs::exists(staged));
  const auto dead = collect(cache);
  CHECK(dead.staging.files == 1);
  CHECK(dead.staging.bytes == 128 + 3 + 12);
  CHECK_FALSE(fs::exists(staged));
}

TEST_CASE("gc: outcomes kept for waiters go after a minute") {
  TestCache test;
  const auto cache = test.open();
  must(cache.run(key_of("key"), {{"false"}, {}}, {}, {}));
  REQUIRE(test.count("attempts") == 1);
  test.clock().advance(seconds(59));
  CHECK(collect(cache).attempts.files == 0);
  CHECK(test.count("attempts") == 1);
  test.clock().advance(seconds(2));
  CHECK(collect(cache).attempts.files == 1);
  CHECK(test.count("attempts") == 0);
}

TEST_CASE("gc: what expired under a key that is locked is left for the next time") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "value", seconds(1));
  test.clock().advance(hours(1));
  {
    const auto held =
        must(cache.lock(&key, lock::Mode::exclusive, lock::Deadline::never(), "test"));
    const auto report = collect(cache);
    CHECK(report.busy == 1);
    CHECK(report.expired.files == 0);
    CHECK(fs::exists(test.record(key)));
  }
  CHECK(collect(cache).expired.files == 1);
}

TEST_CASE("gc: a damaged record goes once it has expired") {
  TestCache test;
  const auto cache = test.open();
  const auto path = test.record(key_of("key"));
  put(cache, key_of("key"), "value", hours(1));
  const auto record = content_of(path);
  write_file(path, record.substr(0, record.size() - 1));
  set_times(path, 0, 1);
  const auto report = collect(cache);
  CHECK(report.damaged.files == 1);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("gc: names that no record has are left alone") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "value");
  const auto directory = fs::path(test.record(key_of("key"))).parent_path().string();
  const std::vector<std::string> foreign{
      directory + "/README",
      directory + "/" + std::string(29, 'a'),
      directory + "/" + std::string(31, 'a'),
      directory + "/" + std::string(30, 'A'),
      test.file("entries/stray"),
      test.file("attempts/stray"),
      test.file("stray"),
  };
  for (const auto& path : foreign) {
    write_file(path, "mine");
    set_times(path, 0, 0);
  }
  fs::create_directory(test.file("entries/zz"));
  write_file(test.file("entries/zz/") + std::string(30, 'a'), "mine");
  GcPolicy policy;
  policy.max_entries = 0;
  must(cache.collect(policy));
  for (const auto& path : foreign) CHECK(content_of(path) == "mine");
  CHECK(fs::exists(test.file("entries/zz/") + std::string(30, 'a')));
}

TEST_CASE("gc: a dry run reports the same and changes nothing") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("expired"), "value", seconds(1));
  for (int number = 0; number < 10; ++number) {
    // Enough of them that some come before others, whatever the order of the walk.
    put(cache, key_of("expired " + std::to_string(number)), "value", seconds(1));
  }
  put(cache, key_of("damaged"), "value", hours(1));
  for (int number = 0; number < 10; ++number) put(cache, key_of(std::to_string(number)), "value");
  must(cache.run(key_of("fails"), {{"false"}, {}}, {}, {}));
  write_file(test.file("tmp/1-0123456789abcdef"), "abandoned");
  write_file(test.record(key_of("damaged")), "damaged");
  set_times(test.record(key_of("damaged")), 0, 1);
  test.clock().advance(hours(1));

  GcPolicy policy;
  policy.max_entries = 6;
  policy.dry_run = DryRun::yes;
  const auto before = snapshot(test);
  const auto planned = must(cache.collect(policy));
  CHECK(snapshot(test) == before);
  policy.dry_run = DryRun::no;
  const auto done = must(cache.collect(policy));
  const auto same = [](const Tally& a, const Tally& b) {
    return a.files == b.files && a.bytes == b.bytes;
  };
  CHECK(same(planned.expired, done.expired));
  CHECK(same(planned.damaged, done.damaged));
  CHECK(same(planned.evicted, done.evicted));
  CHECK(same(planned.attempts, done.attempts));
  CHECK(same(planned.staging, done.staging));
  CHECK(same(planned.kept, done.kept));
  CHECK(done.expired.files == 11);
  CHECK(done.damaged.files == 1);
  CHECK(done.evicted.files == 4);
  CHECK(done.attempts.files == 1);
  CHECK(done.staging.files == 1);
  CHECK(done.kept.files == 6);
  CHECK(test.count("entries") == 6);
}

TEST_CASE("gc: without time it stops and says that it is not complete") {
  TestCache test;
  const auto cache = test.open();
  for (int number = 0; number < 50; ++number) {
    put(cache, key_of(std::to_string(number)), "value", seconds(1));
  }
  test.clock().advance(hours(1));
  GcPolicy policy;
  policy.deadline = lock::Deadline::immediately();
  const auto report = must(cache.collect(policy));
  CHECK_FALSE(report.complete);
  CHECK(report.expired.files <= 1);
  CHECK(test.count("entries") >= 49);
  CHECK(collect(cache).complete);
  CHECK(test.count("entries") == 0);
}

TEST_CASE("gc: beside processes that set and get, no fresh value is ever lost") {
  TestCache test;
  test.open_root();
  std::vector<Forked> workers;
  for (int number = 0; number < 4; ++number) {
    workers.emplace_back([&, number](const Link& link) {
      const auto cache = test.open();
      for (int turn = 0; turn < 400; ++turn) {
        // Real time: what others and gc see must pass here too.
        test.clock().set(SystemClock().now());
        const auto key = key_of("key " + std::to_string((turn + number) % 3));
        put(cache, key, "brief", std::chrono::nanoseconds(1));
        const auto own = key_of("own " + std::to_string(number));
        put(cache, own, "brief", std::chrono::nanoseconds(1));
        put(cache, own, std::to_string(turn), hours(1));
        test.clock().set(SystemClock().now());
        const auto now = seen(cache, own);
        if (now != "value: " + std::to_string(turn)) {
          link.say("turn " + std::to_string(turn) + ": " + now);
          return 1;
        }
      }
      link.say("ok");
      return 0;
    });
  }
  Forked collector([&](const Link& link) {
    const auto cache = test.open();
    std::uint64_t removed = 0;
    bool whole = true;
    while (::access(test.outside().file("stop").c_str(), F_OK) != 0) {
      test.clock().set(SystemClock().now());
      const auto report = must(cache.collect({}));
      removed += report.expired.files;
      whole = whole && report.problems.empty() && report.damaged.files == 0;
    }
    link.say(whole && removed > 0 ? "ok" : "problems, or nothing removed");
    return 0;
  });
  for (auto& worker : workers) CHECK(worker.hear() == "ok");
  write_file(test.outside().file("stop"), "");
  CHECK(collector.hear() == "ok");
  CHECK(test.count("tmp") == 0);
}

}  // namespace cachectl::store
