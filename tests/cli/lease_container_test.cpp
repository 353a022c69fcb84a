// Leases of containers that share a root: PIDs mean nothing across them, locks do.
#include <catch2/catch.hpp>

#include "tests/cli/leases.hpp"

namespace cachectl::test {

TEST_CASE("lease: of a container keeps others out, is of use to them, and ends with it") {
  if (!can_contain()) {
    WARN("no PID namespaces may be made here: not tested");
    return;
  }
  const Sandbox sandbox;
  for (const bool own_proc : {true, false}) {
    INFO("with a /proc of its own: " << own_proc);
    // Where /proc knows it by other numbers, the shell cannot be found out from a fork of it.
    const std::string script = own_proc ? "id=$(\"$cachectl\" acquire k; true); echo $id"
                                        : "id=$(\"$cachectl\" acquire k --owner $$); echo $id";
    Shell container(sandbox, script, contained(own_proc));
    CHECK_FALSE(is_free(sandbox, "k"));
    CHECK(shown(sandbox, container.id())["alive"] == true);
    CHECK(sandbox.run({"set", "k", "v", "--lease", container.id(), "--timeout", "10s"}).status ==
          0);
    container.kill();
    CHECK(becomes_free(sandbox, "k"));
    CHECK(wait_until([&] { return !shown(sandbox, container.id())["alive"].get<bool>(); }));
    check_lost(sandbox.run({"set", "k", "w", "--lease", container.id()}), 125, "");
    CHECK(sandbox.run({"gc"}).status == 0);
    check_lost(sandbox.run({"release", container.id()}), 1, "never was");

    Shell second(sandbox, script, contained(own_proc));
    CHECK(sandbox.run({"release", second.id()}).status == 0);
    CHECK(is_free(sandbox, "k"));
  }
}

TEST_CASE("lease: whose owner ends inside a container ends, and the container goes on") {
  if (!can_contain()) {
    WARN("no PID namespaces may be made here: not tested");
    return;
  }
  const Sandbox sandbox;
  Shell container(sandbox,
                  "sh -c 'id=$(\"$cachectl\" acquire k); echo $id; kill -9 $$'\n"
                  "\"$cachectl\" set k v --timeout 20s && echo set",
                  contained(true));
  const auto lines = lines_of(container.running().output());
  REQUIRE(lines.size() == 3);
  CHECK(lines[1] == "set");
}

}  // namespace cachectl::test
