// The PID of an owner that has ended is given to another process: it owns nothing. With PIDs
// that are really reused, in a PID namespace in which nobody else starts processes.
#include <catch2/catch.hpp>
#include <optional>

#include "tests/cli/leases.hpp"

namespace cachectl::test {

namespace {

/// Functions for a shell that is the first process of its PID namespace.
const std::string kFunctions = R"sh(
own() { # COMMAND: in a shell that lives until it is killed; its PID is in $owner then
  sh -c "$1"'; echo >ready; read line <never' & owner=$!
  read line <ready
}
holder() { sed -n 's/^holder=//p' "$CACHECTL_ROOT"/leases/*[0-9a-f]; }
reuse() { # PID, of a process that has ended
  for try in $(seq 100); do
    echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid
    sleep 100 & test $! = "$1" && return
  done
  echo "not reused"
}
end_owner() { kill -9 $owner; wait $owner 2>/dev/null; reuse $owner; }
mkfifo ready never
)sh";

bool can_reuse() {
  if (!can_contain()) return false;
  const Sandbox sandbox;
  auto words = contained(true);
  words.insert(words.end(), {"-c", "echo 77 >/proc/sys/kernel/ns_last_pid"});
  return run(sandbox.program(words)).status == 0;
}

/// What the script says in a PID namespace of its own; nothing where that cannot be had.
std::optional<std::string> contained_output(const Sandbox& sandbox, const std::string& script) {
  if (!can_reuse()) {
    WARN("SKIPPED: PIDs cannot be chosen here; that takes root and /proc/sys/kernel/ns_last_pid");
    return std::nullopt;
  }
  auto words = contained(true);
  words.insert(words.end(), {"-c", kFunctions + script});
  const auto outcome = run(sandbox.program(words));
  INFO(outcome.errors);
  CHECK(outcome.errors.empty());
  CHECK(outcome.status == 0);
  return outcome.output;
}

/// A pool of one replica.
void fill(const Sandbox& sandbox) {
  configure(sandbox, "[entries.k.pool]\nmax = 1\ncopy = \"copy\"\n");
  REQUIRE(run(sandbox.shell("mkdir in; echo 1 >in/x; $cachectl set k --dir in")).status == 0);
}

}  // namespace

TEST_CASE("pid reuse: a replica is free though its owner's PID lives on as another process") {
  const Sandbox sandbox;
  fill(sandbox);
  // The holder sleeps while it happens, and has only what it knew before.
  const auto output = contained_output(sandbox, R"sh(
own '"$cachectl" pool checkout k >dir'
kill -STOP $(holder); end_owner; kill -CONT $(holder)
"$cachectl" pool checkout k --timeout 20s --owner 1 | cmp - dir && echo free
)sh");
  if (output) CHECK(*output == "free\n");
}

TEST_CASE("pid reuse: it is free when the holder of the lease was killed, too") {
  const Sandbox sandbox;
  fill(sandbox);
  const auto output = contained_output(sandbox, R"sh(
own '"$cachectl" pool checkout k >dir'
kill -9 $(holder); until test -z "$("$cachectl" lease list)"; do sleep 0.01; done
"$cachectl" gc >/dev/null
"$cachectl" pool checkout k --timeout 100ms --owner 1 2>/dev/null; echo $?
end_owner
"$cachectl" gc >/dev/null; ls "$CACHECTL_ROOT/leases"
"$cachectl" pool checkout k --timeout 20s --owner 1 | cmp - dir && echo free
)sh");
  if (output) CHECK(*output == "124\nfree\n");
}

TEST_CASE("pid reuse: a lease is lost though its owner's PID lives on as another process") {
  const Sandbox sandbox;
  const auto output = contained_output(sandbox, R"sh(
own '"$cachectl" acquire k >id'
kill -STOP $(holder); end_owner; kill -CONT $(holder)
"$cachectl" set k v --timeout 20s && echo free
"$cachectl" set k w --lease $(cat id) 2>&1 | grep -c 'has ended'
)sh");
  if (output) CHECK(*output == "free\n1\n");
}

TEST_CASE("pid reuse: whoever has an owner's PID while acquire waits gets no lease") {
  const Sandbox sandbox;
  const auto output = contained_output(sandbox, R"sh(
mkfifo go
"$cachectl" lock --key k -- sh -c 'echo >ready; read line <go' & lock=$!
read line <ready
own 'sleep 0'
"$cachectl" acquire k --timeout 20s --owner $owner 2>said & acquire=$!
until ls -l /proc/$acquire/fd | grep -q pidfd; do sleep 0.01; done
end_owner; echo >go; wait $lock
wait $acquire || grep -c ' ended' said
"$cachectl" lease list
)sh");
  if (output) CHECK(*output == "1\n");
}

}  // namespace cachectl::test
