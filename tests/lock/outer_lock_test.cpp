// Locks that a parent process hands down to what it runs.
#include <catch2/catch.hpp>

#include "lock/lock_table.hpp"
#include "tests/support/locking.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

using test::acquire;
using test::attempt;
using test::Forked;
using test::Link;
using test::table_in;
using test::TempDirectory;

const Slot kKey = Slot::of(10);
const Slot kOtherKey = Slot::of(20);

/// A child that inherits the locks: says what it got, and holds it until told "go".
Forked child_inside(const Directory& directory, const OuterLocks& outer, Slot slot, Mode mode) {
  return Forked([&](const Link& link) {
    const auto got =
        table_in(directory, outer).acquire(slot, mode, Deadline::immediately(), "child");
    if (!got) {
      const auto code = got.error().code;
      link.say(code == Errc::usage        ? "usage"
               : code == Errc::lease_lost ? "lease lost"
                                          : got.error().describe());
    } else {
      link.say(*got ? "held at depth " + std::to_string((*got)->handed_down().back().depth)
                    : "busy");
    }
    return link.hear() == "go" ? 0 : 1;
  });
}

/// What the test expects of a backend that can hand locks down, and of one that cannot.
std::string inheritable_or_usage(const std::string& expected) {
  return backend.inheritable ? expected : "usage";
}

}  // namespace

TEST_CASE("outer lock: a child inside the whole lock takes a name one depth below it") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto held = acquire(table_in(opened), Slot::whole(), Mode::exclusive);
  auto child = child_inside(opened, held.handed_down(), kKey, Mode::exclusive);
  CHECK(child.hear() == inheritable_or_usage("held at depth 1"));
}

TEST_CASE("outer lock: two children inside one lock exclude each other") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto held = acquire(table_in(opened), Slot::whole(), Mode::exclusive);
  auto first = child_inside(opened, held.handed_down(), kKey, Mode::exclusive);
  CHECK(first.hear() == inheritable_or_usage("held at depth 1"));
  auto second = child_inside(opened, held.handed_down(), kKey, Mode::shared);
  CHECK(second.hear() == inheritable_or_usage("busy"));
  auto third = child_inside(opened, held.handed_down(), kOtherKey, Mode::exclusive);
  CHECK(third.hear() == inheritable_or_usage("held at depth 1"));
  auto fourth = child_inside(opened, held.handed_down(), Slot::whole(), Mode::exclusive);
  CHECK(fourth.hear() == inheritable_or_usage("busy"));
}

TEST_CASE("outer lock: nests, each level one deeper") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto held = acquire(table_in(opened), Slot::whole(), Mode::exclusive);
  Forked child([&](const Link& link) {
    const auto inner = table_in(opened, held.handed_down())
                           .acquire(kKey, Mode::exclusive, Deadline::immediately(), "child");
    if (!inner || !*inner) return 1;
    auto grandchild = child_inside(opened, (*inner)->handed_down(), kKey, Mode::exclusive);
    link.say(grandchild.hear());
    return 0;
  });
  CHECK(child.hear() == (backend.inheritable ? "held at depth 2" : "(gone)"));
}

TEST_CASE("outer lock: a lock on another name is no cover and no obstacle") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto held = acquire(table_in(opened), kKey, Mode::exclusive);
  auto child = child_inside(opened, held.handed_down(), kOtherKey, Mode::exclusive);
  // Without ranges the two names are one lock, which the child can never have.
  CHECK(child.hear() == (backend.ranges ? "held at depth 0" : "usage"));
}

TEST_CASE("outer lock: a whole-table locker that waits for us does not hold up what runs inside") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto held = acquire(table_in(opened), kKey, Mode::exclusive);
  auto whole = test::holder_of(opened, Slot::whole(), Mode::exclusive);
  REQUIRE(test::wait_until_asleep(whole.pid()));
  // Were the child to queue behind the whole, both would wait for ever.
  auto child = child_inside(opened, held.handed_down(), kOtherKey, Mode::exclusive);
  CHECK(child.hear() == (backend.ranges ? "held at depth 0" : "usage"));
  child.kill();
  held.release();
  CHECK(whole.hear() == "held");
}

TEST_CASE("outer lock: what could never be granted is a usage error at once") {
  const TempDirectory directory;
  const auto opened = directory.open();
  {
    const auto held = acquire(table_in(opened), kKey, Mode::exclusive);
    auto child = child_inside(opened, held.handed_down(), Slot::whole(), Mode::shared);
    CHECK(child.hear() == "usage");
  }
  const auto held = acquire(table_in(opened), Slot::whole(), Mode::shared);
  auto child = child_inside(opened, held.handed_down(), kKey, Mode::exclusive);
  CHECK(child.hear() == "usage");
  auto sharer = child_inside(opened, held.handed_down(), kKey, Mode::shared);
  CHECK(sharer.hear() == inheritable_or_usage("held at depth 1"));
}

TEST_CASE("outer lock: a lock that was released meanwhile is a lost lease") {
  const TempDirectory directory;
  const auto opened = directory.open();
  const auto mode = GENERATE(Mode::exclusive, Mode::shared);
  auto held = acquire(table_in(opened), Slot::whole(), mode);
  const auto outer = held.handed_down();
  Forked child([&](const Link& link) {
    if (link.hear() != "go") return 1;
    auto inner = child_inside(opened, outer, kKey, mode);
    link.say(inner.hear());
    return 0;
  });
  held.release();
  child.say("go");
  CHECK(child.hear() == inheritable_or_usage("lease lost"));
}

TEST_CASE("outer lock: a lock that somebody else has now is a lost lease") {
  const TempDirectory directory;
  const auto opened = directory.open();
  auto held = acquire(table_in(opened), Slot::whole(), Mode::exclusive);
  const auto outer = held.handed_down();
  Forked child([&](const Link& link) {
    if (link.hear() != "go") return 1;
    auto inner = child_inside(opened, outer, kKey, Mode::exclusive);
    link.say(inner.hear());
    return 0;
  });
  held.release();
  auto other = test::holder_of(opened, Slot::whole(), Mode::exclusive);
  REQUIRE(other.hear() == "held");
  child.say("go");
  CHECK(child.hear() == inheritable_or_usage("lease lost"));
}

TEST_CASE("outer lock: a lock on another table is no cover") {
  const TempDirectory directory;
  const TempDirectory other;
  const auto opened = directory.open();
  const auto opened_other = other.open();
  const auto held = acquire(table_in(opened_other), Slot::whole(), Mode::exclusive);
  auto child = child_inside(opened, held.handed_down(), kKey, Mode::exclusive);
  CHECK(child.hear() == "held at depth 0");
}

TEST_CASE("outer lock: locks survive their text form") {
  const OuterLocks locks = {{5, 0, Slot::whole(), Mode::exclusive},
                            {17, 1, Slot::of(~0UL), Mode::shared},
                            {3, 30, Slot::of(2), Mode::exclusive}};
  const auto decoded = decode_outer_locks(encode(locks));
  REQUIRE(decoded);
  REQUIRE(decoded->size() == locks.size());
  for (std::size_t i = 0; i < locks.size(); ++i) {
    CHECK((*decoded)[i].descriptor == locks[i].descriptor);
    CHECK((*decoded)[i].depth == locks[i].depth);
    CHECK((*decoded)[i].slot.id() == locks[i].slot.id());
    CHECK((*decoded)[i].mode == locks[i].mode);
  }
  CHECK(encode({}).empty());
  const auto none = decode_outer_locks("");
  REQUIRE(none);
  CHECK(none->empty());
}

TEST_CASE("outer lock: text that names no locks is a usage error") {
  const auto* text =
      GENERATE("x", ":", "5", "5:0", "5:0:0", "5:0:0:", "5:0:0:y", "5:0:0:xx", "-1:0:0:x",
               "5:31:0:x", "5:-1:0:x", " 5:0:0:x", "5:0:0:x ", "5:0:zz:x", "99999999999:0:0:x",
               "5:0:11111111111111111:x", "5:0:0:x,,6:0:0:x", ",5:0:0:x", "5:0:0:x;6:0:0:x");
  CAPTURE(text);
  const auto decoded = decode_outer_locks(text);
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().code == Errc::usage);
}

}  // namespace cachectl::lock
