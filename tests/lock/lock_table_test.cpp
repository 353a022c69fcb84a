#include "lock/lock_table.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using std::chrono::milliseconds;
using test::acquire;
using test::attempt;
using test::Forked;
using test::holder_of;
using test::kPatience;
using test::Link;
using test::table_in;
using test::TempDirectory;

const Slot kName = Slot::of(10);
const Slot kOtherKey = Slot::of(20);

}  // namespace

TEST_CASE("lock table: the slots of a name and of the whole cover and overlap as they should") {
  CHECK(Slot::whole().is_whole());
  CHECK_FALSE(Slot::of(0).is_whole());
  CHECK(Slot::whole().covers(kName));
  CHECK_FALSE(kName.covers(Slot::whole()));
  CHECK(kName.overlaps(Slot::whole()));
  CHECK_FALSE(kName.overlaps(kOtherKey));
  CHECK(Slot::from_id(kName.id()).covers(kName));
}

TEST_CASE("lock table: the whole contains every name's byte at each depth, never the turnstile") {
  for (const unsigned depth : {0U, 1U, 30U}) {
    const auto whole = Slot::whole().range(depth);
    for (const std::uint64_t hash : {0UL, 1UL, 0x3ffffffffffffffUL, ~0UL, 1UL << 58U}) {
      const auto byte = Slot::of(hash).range(depth);
      CHECK(byte.length == 1);
      CHECK(byte.start >= whole.start);
      CHECK(byte.start < whole.start + whole.length);
      CHECK(Slot::of(hash).note_slot() >= 1);
      CHECK(Slot::of(hash).note_slot() < 1024);
    }
    CHECK(whole.start % (std::uint64_t{1} << 58U) == 1);
    CHECK(whole.start + whole.length <= std::uint64_t{1} << 63U);
  }
  CHECK(Slot::whole().note_slot() == 0);
}

TEST_CASE("lock table: names exclude themselves, and others where the backend has no ranges") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto holder = holder_of(opened, kName, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  const auto table = table_in(opened);
  CHECK(attempt(table, kName, Mode::exclusive) == "busy");
  CHECK(attempt(table, kName, Mode::shared) == "busy");
  CHECK(attempt(table, Slot::whole(), Mode::shared) == "busy");
  CHECK(attempt(table, kOtherKey, Mode::exclusive) == (backend.ranges ? "held" : "busy"));
}

TEST_CASE("lock table: an exclusive holder of the whole excludes every name") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto holder = holder_of(opened, Slot::whole(), Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  const auto table = table_in(opened);
  CHECK(attempt(table, kName, Mode::shared) == "busy");
  CHECK(attempt(table, Slot::whole(), Mode::shared) == "busy");
  holder.kill();
  CHECK(attempt(table, kName, Mode::exclusive) == "held");
}

TEST_CASE("lock table: shared holders of the whole coexist, also with shared names") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto first = holder_of(opened, Slot::whole(), Mode::shared);
  REQUIRE(first.hear() == "held");
  auto second = holder_of(opened, Slot::whole(), Mode::shared);
  REQUIRE(second.hear() == "held");
  const auto table = table_in(opened);
  CHECK(attempt(table, kName, Mode::shared) == "held");
  CHECK(attempt(table, kName, Mode::exclusive) == "busy");
  CHECK(attempt(table, Slot::whole(), Mode::exclusive) == "busy");
}

TEST_CASE("lock table: releasing one lock of a process keeps its others") {
  const TempDirectory directory;
  const auto opened = directory.open();
  Forked holder([&](const Link& link) {
    const auto table = table_in(opened);
    const auto kept = acquire(table, kName, Mode::shared);
    { const auto dropped = acquire(table, kName, Mode::shared); }
    link.say(attempt(table, kName, Mode::exclusive));
    link.say(table.owner(kName) ? "noted" : "no note");
    return link.hear() == "go" ? 0 : 1;
  });
  CHECK(holder.hear() == "busy");
  CHECK(holder.hear() == "noted");
  CHECK(attempt(table_in(opened), kName, Mode::exclusive) == "busy");
}

TEST_CASE("lock table: release by hand, by scope and by assignment let others in") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto table = table_in(opened);
  auto held = acquire(table, kName, Mode::exclusive);
  CHECK(attempt(table, kName, Mode::exclusive) == "busy");
  held.release();
  held.release();  // again is harmless
  { const auto scoped = acquire(table, kName, Mode::exclusive); }
  auto first = acquire(table, kName, Mode::shared);
  first = acquire(table, kOtherKey, Mode::shared);
  CHECK(attempt(table, kName, Mode::exclusive) == (backend.ranges ? "held" : "busy"));
  CHECK(attempt(table, kOtherKey, Mode::exclusive) == "busy");
  first.release();
  CHECK(attempt(table, kOtherKey, Mode::exclusive) == "held");
}

TEST_CASE("lock table: a release reaches a forked child that shares the lock") {
  const TempDirectory directory;
  const auto opened = directory.open();
  for (const auto slot : {kName, Slot::whole()}) {
    auto held = acquire(table_in(opened), slot, Mode::exclusive);
    Forked child([](const Link& link) { return link.hear() == "go" ? 0 : 1; });
    { const auto dropped = std::move(held); }
    CHECK(attempt(table_in(opened), slot, Mode::exclusive) == "held");
    child.say("go");
    CHECK(child.wait() == 0);
  }
}

TEST_CASE("lock table: a waiter that is granted a replaced file locks the new one") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto slot = GENERATE(kName, Slot::whole());
  auto holder = holder_of(opened, slot, Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  auto waiter = holder_of(opened, slot, Mode::exclusive);
  REQUIRE(test::wait_until_asleep(waiter.pid()));
  std::filesystem::remove(directory.file("cache.lock"));
  if (GENERATE(true, false)) test::write_file(directory.file("cache.lock"), "");
  holder.say("go");
  REQUIRE(waiter.hear() == "held");
  CHECK(attempt(table_in(opened), slot, Mode::exclusive) == "busy");
  waiter.kill();
  CHECK(attempt(table_in(opened), slot, Mode::exclusive) == "held");
}

TEST_CASE("lock table: a holder whose lock file was deleted or replaced has lost its lease") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto held = acquire(table_in(opened), kName, Mode::exclusive);
  CHECK(held.still_valid());
  std::filesystem::remove(directory.file("cache.lock"));
  REQUIRE_FALSE(held.still_valid());
  CHECK(held.still_valid().error().code == Errc::lease_lost);
  test::write_file(directory.file("cache.lock"), "");
  REQUIRE_FALSE(held.still_valid());
  CHECK(held.still_valid().error().code == Errc::lease_lost);
}

TEST_CASE("lock table: holders that delete the lock file before they release lose no increment") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const test::SharedCounter counter;
  constexpr int kProcesses = 4;
  constexpr int kRounds = 100;
  std::vector<Forked> processes;
  for (int i = 0; i < kProcesses; ++i) {
    processes.emplace_back([&](const Link&) {
      const auto table = table_in(opened);
      for (int round = 0; round < kRounds; ++round) {
        const auto held = acquire(table, kName, Mode::exclusive);
        counter.increment();
        ::unlink(directory.file("cache.lock").c_str());
      }
      return 0;
    });
  }
  for (auto& process : processes) CHECK(process.wait() == 0);
  CHECK(counter.value() == kProcesses * kRounds);
}

TEST_CASE("lock table: the lock file is created once, with its mode whatever the umask") {
  const TempDirectory directory;
  const auto opened = directory.open();
  Forked creator([&](const Link&) {
    ::umask(0777);
    const LockTable table(opened, "cache.lock", 0660);
    return attempt(table, kName, Mode::exclusive) == "held" ? 0 : 1;
  });
  CHECK(creator.wait() == 0);
  const auto before = opened.status("cache.lock").value().value();
  CHECK((before.st_mode & 07777U) == 0660);
  CHECK(attempt(LockTable(opened, "cache.lock", 0600), kName, Mode::exclusive) == "held");
  const auto after = opened.status("cache.lock").value().value();
  CHECK(after.st_ino == before.st_ino);
  CHECK((after.st_mode & 07777U) == 0660);
}

TEST_CASE("lock table: a symbolic link in place of the lock file is refused") {
  const TempDirectory directory;
  std::filesystem::create_symlink(directory.file("elsewhere"), directory.file("cache.lock"));
  const auto opened = directory.open();
  CHECK_THAT(attempt(table_in(opened), kName, Mode::exclusive), Catch::Contains("symbolic link"));
  CHECK_FALSE(std::filesystem::exists(directory.file("elsewhere")));
}

}  // namespace cachectl::lock
