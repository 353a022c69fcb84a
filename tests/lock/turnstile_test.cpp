// Nobody starves: a locker of the whole table gets in although names are hammered.
#include <catch2/catch.hpp>
#include <vector>

#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using std::chrono::milliseconds;
using test::acquire;
using test::Forked;
using test::holder_of;
using test::Link;
using test::table_in;
using test::TempDirectory;

/// A process that locks a name again and again, and holds it until its partner holds
/// another: between the two of them there is always one that holds. A partner that does not
/// come is not waited for long. Says "hammering" after the first rounds.
Forked hammer(const Directory& directory, std::uint64_t hash, Mode mode, const Link& partner,
              bool begins) {
  return Forked([&, hash, mode, begins](const Link& link) {
    const auto table = table_in(directory);
    if (!begins && partner.hear() != "held") return 1;
    for (int round = 0;; ++round) {
      const auto held = acquire(table, Slot::of(hash), mode);
      partner.say("held");
      if (partner.hear(milliseconds(300)) == "(gone)") return 0;
      if (round == 10) link.say("hammering");
    }
  });
}

}  // namespace

TEST_CASE("turnstile: a whole-table locker gets in between lockers of names that never pause") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto mode = GENERATE(Mode::exclusive, Mode::shared);
  const auto [one, other] = Link::make();
  std::vector<Forked> hammers;
  hammers.push_back(hammer(opened, 2, mode, one, true));
  hammers.push_back(hammer(opened, 4, mode, other, false));
  if (backend.ranges) {
    CHECK(hammers[0].hear() == "hammering");
    CHECK(hammers[1].hear() == "hammering");
  } else {
    // Without ranges there is no turnstile: the whole gets in when the others pause.
    hammers.clear();
  }
  const auto held = table_in(opened).acquire(Slot::whole(), Mode::exclusive,
                                             Deadline::after(std::chrono::seconds(20)), "whole");
  REQUIRE(held);
  CHECK(held->has_value());
}

TEST_CASE("turnstile: newcomers wait behind a whole-table locker that waits") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto first = holder_of(opened, Slot::of(2), Mode::exclusive);
  REQUIRE(first.hear() == "held");
  auto whole = holder_of(opened, Slot::whole(), Mode::exclusive);
  REQUIRE(test::wait_until_asleep(whole.pid()));
  auto newcomer = holder_of(opened, Slot::of(4), Mode::exclusive);
  // Without ranges the newcomer's name is taken too, and the order is open.
  CHECK(newcomer.hear(milliseconds(100)) == "(silence)");
  first.say("go");
  if (backend.ranges) {
    CHECK(whole.hear() == "held");
    CHECK(newcomer.hear(milliseconds(50)) == "(silence)");
    whole.say("go");
    CHECK(newcomer.hear() == "held");
  }
}

TEST_CASE("turnstile: a whole-table locker that gives up lets names in again") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto holder = holder_of(opened, Slot::of(2), Mode::exclusive);
  REQUIRE(holder.hear() == "held");
  const auto table = table_in(opened);
  CHECK(test::attempt(table, Slot::whole(), Mode::exclusive, Deadline::after(milliseconds(30))) ==
        "busy");
  CHECK(test::attempt(table, Slot::of(4), Mode::exclusive) == (backend.ranges ? "held" : "busy"));
  holder.kill();
  CHECK(test::attempt(table, Slot::of(2), Mode::exclusive) == "held");
}

TEST_CASE("turnstile: a whole-table locker that is killed while it waits blocks nobody") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto holder = holder_of(opened, Slot::of(2), Mode::shared);
  REQUIRE(holder.hear() == "held");
  auto whole = holder_of(opened, Slot::whole(), Mode::exclusive);
  REQUIRE(test::wait_until_asleep(whole.pid()));
  whole.kill();
  CHECK(test::attempt(table_in(opened), Slot::of(4), Mode::shared) == "held");
}

}  // namespace cachectl::lock
