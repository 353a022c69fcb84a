// Programs that lock cache.lock with boost::interprocess::file_lock and ours exclude each
// other, whichever backend this build has.
#include <boost/interprocess/sync/file_lock.hpp>
#include <catch2/catch.hpp>

#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using boost::interprocess::file_lock;
using test::attempt;
using test::Forked;
using test::holder_of;
using test::Link;
using test::table_in;
using test::TempDirectory;

const Slot kKey = Slot::of(0x3fa94c);

/// Another program: says "held" and holds the file until told "go".
Forked boost_holder(const std::string& path, Mode mode) {
  return Forked([&](const Link& link) {
    file_lock lock(path.c_str());
    const bool held = mode == Mode::shared ? lock.try_lock_sharable() : lock.try_lock();
    link.say(held ? "held" : "busy");
    return link.hear() == "go" ? 0 : 1;
  });
}

std::string boost_attempt(const std::string& path, Mode mode) {
  auto other = boost_holder(path, mode);
  auto seen = other.hear();
  other.kill();
  return seen;
}

}  // namespace

TEST_CASE("interoperation: a Boost holder excludes our key, shared and whole lockers") {
  const TempDirectory directory;
  test::write_file(directory.file("cache.lock"), "");
  auto other = boost_holder(directory.file("cache.lock"), Mode::exclusive);
  REQUIRE(other.hear() == "held");
  const auto opened = directory.open();
  const auto table = table_in(opened);
  CHECK(attempt(table, kKey, Mode::exclusive) == "busy");
  CHECK(attempt(table, kKey, Mode::shared) == "busy");
  CHECK(attempt(table, Slot::whole(), Mode::exclusive) == "busy");
  CHECK(attempt(table, Slot::whole(), Mode::shared) == "busy");
  other.kill();
  CHECK(attempt(table, kKey, Mode::exclusive) == "held");
}

TEST_CASE("interoperation: a Boost sharer excludes our exclusive key and whole lockers only") {
  const TempDirectory directory;
  test::write_file(directory.file("cache.lock"), "");
  auto other = boost_holder(directory.file("cache.lock"), Mode::shared);
  REQUIRE(other.hear() == "held");
  const auto opened = directory.open();
  const auto table = table_in(opened);
  CHECK(attempt(table, kKey, Mode::exclusive) == "busy");
  CHECK(attempt(table, Slot::whole(), Mode::exclusive) == "busy");
  CHECK(attempt(table, kKey, Mode::shared) == "held");
}

TEST_CASE("interoperation: our exclusive holders exclude a Boost locker of either kind") {
  const TempDirectory directory;
  const auto opened = directory.open();
  for (const auto slot : {kKey, Slot::whole()}) {
    auto holder = holder_of(opened, slot, Mode::exclusive);
    REQUIRE(holder.hear() == "held");
    CHECK(boost_attempt(directory.file("cache.lock"), Mode::exclusive) == "busy");
    CHECK(boost_attempt(directory.file("cache.lock"), Mode::shared) == "busy");
    holder.kill();
    CHECK(boost_attempt(directory.file("cache.lock"), Mode::exclusive) == "held");
  }
}

TEST_CASE("interoperation: our shared holders let a Boost sharer in and no exclusive one") {
  const TempDirectory directory;
  const auto opened = directory.open();
  for (const auto slot : {kKey, Slot::whole()}) {
    auto holder = holder_of(opened, slot, Mode::shared);
    REQUIRE(holder.hear() == "held");
    CHECK(boost_attempt(directory.file("cache.lock"), Mode::exclusive) == "busy");
    CHECK(boost_attempt(directory.file("cache.lock"), Mode::shared) == "held");
  }
}

TEST_CASE("interoperation: our waiter gets in when the Boost holder goes") {
  const TempDirectory directory;
  test::write_file(directory.file("cache.lock"), "");
  auto other = boost_holder(directory.file("cache.lock"), Mode::exclusive);
  REQUIRE(other.hear() == "held");
  const auto opened = directory.open();
  auto waiter = holder_of(opened, Slot::whole(), Mode::exclusive);
  REQUIRE(test::wait_until_asleep(waiter.pid()));
  other.kill();
  CHECK(waiter.hear() == "held");
}

}  // namespace cachectl::lock
