// acquire --fd: the lock lies on a descriptor of the shell's own.
#include <catch2/catch.hpp>

#include "tests/cli/leases.hpp"

namespace cachectl::test {

namespace {

/// A cache, and a shell that opens its lock file on descriptor 9.
std::string opened(const std::string& script) {
  return "exec 9<>\"$CACHECTL_ROOT/cache.lock\" || exit 9\n" + script;
}

}  // namespace

TEST_CASE("acquire: --fd locks the shell's own descriptor until it is closed") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  for (const std::string shell : {"dash", "bash"}) {
    INFO(shell);
    Shell owner(sandbox, opened("\"$cachectl\" acquire --fd 9 k"), {shell});
    CHECK_THAT(owner.id(), Catch::StartsWith("9:0:") && Catch::EndsWith(":x"));
    CHECK_FALSE(is_free(sandbox, "k"));
    CHECK(sandbox.run({"set", "other", "v", "--timeout", "10s"}).status == 0);
    CHECK(sandbox.run({"acquire", "--try"}).status == 1);
    CHECK_THAT(sandbox.run({"set", "k", "w", "--timeout", "50ms"}).errors,
               Catch::Contains("pid " + std::to_string(owner.running().pid()) + " (" + shell));
    owner.kill();
    CHECK(becomes_free(sandbox, "k"));
  }
  const auto closed = run(sandbox.shell(
      opened("\"$cachectl\" acquire --fd 9 k >&2 && exec 9>&- && \"$cachectl\" set k w")));
  CHECK(closed.status == 0);
}

TEST_CASE("acquire: --fd without a key locks the whole cache, and opens the turnstile behind it") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto outcome = run(sandbox.shell(
      opened("CACHECTL_LOCK=$(\"$cachectl\" acquire --fd 9) || exit 1; export CACHECTL_LOCK\n"
             "(unset CACHECTL_LOCK; \"$cachectl\" set k w --timeout 50ms); [ $? = 124 ] || exit 2\n"
             "\"$cachectl\" set k inside --timeout 10s || exit 3\n"
             "\"$cachectl\" release --fd 9 || exit 4; unset CACHECTL_LOCK\n"
             "\"$cachectl\" set k after --timeout 10s")));
  CHECK(outcome.status == 0);
  CHECK(sandbox.run({"get", "k"}).output == "after");
}

TEST_CASE("acquire: --fd nests the shell's commands by CACHECTL_LOCK") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto outcome = run(sandbox.shell(
      opened("export CACHECTL_LOCK=$(\"$cachectl\" acquire --fd 9 k)\n"
             "\"$cachectl\" set --timeout 10s k 1 && \"$cachectl\" run --timeout 10s --key k "
             "--force echo 2 &&\n"
             "inner=$(\"$cachectl\" acquire --fd 9 --timeout 10s k) && echo $inner &&\n"
             "CACHECTL_LOCK=$inner \"$cachectl\" set --timeout 10s k 3 || exit 1\n"
             "\"$cachectl\" release --fd 9\n"
             "\"$cachectl\" set --timeout 10s k late")));
  CHECK(outcome.status == 125);
  CHECK(is_one_message(outcome.errors));
  CHECK_THAT(outcome.errors, Catch::Contains("is gone"));
  CHECK_THAT(outcome.output, Catch::Contains("9:0:") && Catch::Contains(",9:1:"));
  CHECK(sandbox.run({"get", "k"}).output == "3");
  CHECK(is_free(sandbox, "k"));
}

TEST_CASE("acquire: --fd of what is not the lock file is refused") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  for (const std::string script :
       {"\"$cachectl\" acquire --fd 9 k", "exec 9</dev/null; \"$cachectl\" acquire --fd 9 k",
        "exec 9<\"$CACHECTL_ROOT/cache.lock\"; \"$cachectl\" acquire --fd 9 k",
        "exec 9>>\"$CACHECTL_ROOT/cache.lock\"; \"$cachectl\" acquire --fd 9 k",
        "exec 9<\"$CACHECTL_ROOT/format\"; \"$cachectl\" release --fd 9",
        "\"$cachectl\" acquire --fd x k", "\"$cachectl\" acquire --fd -1 k",
        "\"$cachectl\" release --fd ''", "\"$cachectl\" release --fd 9 0123456789abcdef",
        "exec 9<>\"$CACHECTL_ROOT/cache.lock\"; \"$cachectl\" acquire --fd 9 k --lease 1s",
        "exec 9<>\"$CACHECTL_ROOT/cache.lock\"; \"$cachectl\" acquire --fd 9 k --owner $$"}) {
    const auto outcome = run(sandbox.shell(script));
    INFO(script << ": " << outcome.errors);
    CHECK(outcome.status == 2);
    CHECK(outcome.output.empty());
    CHECK(is_one_message(outcome.errors));
  }
  CHECK(is_free(sandbox, "k"));
}

TEST_CASE("acquire: --fd that is given up or killed while it waits leaves nothing locked") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  for (const std::string target : {"", "k"}) {
    INFO("'" << target << "'");
    Shell shell(sandbox, opened("\"$cachectl\" acquire --fd 9 --timeout 50ms " + target +
                                "; echo $?\n\"$cachectl\" acquire --fd 9 " + target +
                                " & sleep 0.3; kill -9 $!; wait $!"));
    CHECK(lines_of(shell.running().output()).front() == "124");
    CHECK(sandbox.run({"set", "other", "v", "--timeout", "5s"}).status == 0);
    CHECK(sandbox.run({"set", "k", "v", "--lease", id, "--timeout", "5s"}).status == 0);
  }
  CHECK(sandbox.run({"release", id}).status == 0);
  CHECK(is_free(sandbox, "k"));
}

}  // namespace cachectl::test
