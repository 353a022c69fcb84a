// Whose a replica is when the holder of its lease was killed.
#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

/// With a pool of one replica, which the shell checks out; then the holder is killed.
Outcome bereft(const Sandbox& sandbox, const std::string& script) {
  configure(sandbox, "[entries.k.pool]\nmax = 1\ncopy = \"copy\"\n");
  return run(
      sandbox.shell("mkdir in; echo 1 >in/x; $cachectl set k --dir in\n"
                    "kill_holder() {\n"
                    "  kill -9 $(sed -n 's/^holder=//p' $CACHECTL_ROOT/leases/*[0-9a-f])\n"
                    "  until test -z \"$($cachectl lease list)\"; do sleep 0.01; done\n"
                    "}\n"
                    "left() { ls $CACHECTL_ROOT/leases | wc -l; }\n"
                    "try() { $cachectl pool checkout k --timeout 100ms 2>/dev/null; echo $?; }\n" +
                    script));
}

}  // namespace

TEST_CASE("pool: gc leaves a replica to its owner though the holder of the lease is killed") {
  const Sandbox sandbox;
  const auto outcome = bereft(sandbox,
                              "a=$($cachectl pool checkout k); kill_holder\n"
                              "$cachectl gc >/dev/null; left; try\n"
                              "$cachectl pool list k | grep -c leased\n"
                              "$cachectl pool checkin $a; echo $?\n"
                              "test $($cachectl pool checkout k --timeout 5s) = $a && echo again");
  CHECK(outcome.output == "1\n124\n1\n0\nagain\n");
  CHECK(outcome.errors == "");
}

TEST_CASE("pool: a replica can be published, or released, though the holder is killed") {
  const Sandbox sandbox;
  const auto outcome = bereft(sandbox,
                              "a=$($cachectl pool checkout k); kill_holder; echo 2 > $a/x\n"
                              "$cachectl pool checkin --publish $a; echo $?\n"
                              "cat $($cachectl path k)/x\n"
                              "test $($cachectl pool checkout k --timeout 5s) = $a && echo again\n"
                              "id=$(sed -n 's/^lease=//p' ${a%/*}/state); kill_holder; try\n"
                              "$cachectl release $id; echo $?; $cachectl release $id; echo $?\n"
                              "$cachectl pool checkin --publish $a; echo $?\n"
                              "test $($cachectl pool checkout k --timeout 5s) = $a && echo again");
  CHECK(outcome.output == "0\n2\nagain\n124\n0\n1\n1\nagain\n");
  CHECK_THAT(outcome.errors, Catch::Contains("is not checked out, or no longer"));
}

TEST_CASE("pool: gc removes what the killed holder left once the owner has ended, reaped or not") {
  const Sandbox sandbox;
  // The one who would reap the owner sleeps.
  const auto outcome =
      bereft(sandbox,
             "mkfifo ready go\n"
             "sh -c 'sh -c \"$cachectl pool checkout k >dir; echo >ready; read "
             "line <go\" & exec sleep 60' & parent=$!\n"
             "read line <ready; kill_holder; $cachectl gc >/dev/null; left; "
             "try\n"
             "owner=$(tr -d \" \" </proc/$parent/task/$parent/children); echo >go\n"
             "until grep -q '^State:.Z' /proc/$owner/status; do sleep 0.01; done\n"
             "$cachectl gc >/dev/null; left\n"
             "$cachectl pool checkout k --timeout 5s | cmp - dir && echo free\n"
             "kill $parent");
  CHECK(outcome.output == "1\n124\n0\nfree\n");
}

TEST_CASE("pool: after a restart of the machine nobody relies on a replica") {
  const Sandbox sandbox;
  const auto outcome = bereft(sandbox,
                              "a=$($cachectl pool checkout k); kill_holder\n"
                              "sed -i 's/^boot=......../boot=00000000/' ${a%/*}/state\n"
                              "test $($cachectl pool checkout k --timeout 5s) = $a && echo again");
  CHECK(outcome.output == "again\n");
}

TEST_CASE("pool: gc removes the file of a lock's lease, whose lock is lost with its holder") {
  const Sandbox sandbox;
  const auto outcome = bereft(sandbox,
                              "$cachectl acquire k >/dev/null; kill_holder\n"
                              "$cachectl gc >/dev/null; left");
  CHECK(outcome.output == "0\n");
}

}  // namespace cachectl::test
