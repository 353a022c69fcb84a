// Ctrl-C at a real terminal.
#include <catch2/catch.hpp>
#include <thread>

#include "tests/cli/support.hpp"
#include "tests/cli/terminal.hpp"

namespace cachectl::test {

namespace {

constexpr char kCtrlC = 3;

}  // namespace

TEST_CASE("terminal: Ctrl-C ends lock and its command, and the status is 130") {
  const Sandbox sandbox;
  Terminal terminal(
      sandbox,
      "trap : INT; \"$cachectl\" lock -- sh -c 'trap \"echo int >> ../log; exit 130\" "
      "INT; echo ready; while :; do sleep 0.05; done'; echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
  // The terminal told both; the command heard it once.
  CHECK(content_of(sandbox.file("log")) == "int\n");
  CHECK(sandbox.run({"lock", "--try", "--", "true"}).status == 0);
}

TEST_CASE("terminal: a command that dies of Ctrl-C makes lock report 130") {
  const Sandbox sandbox;
  Terminal terminal(sandbox,
                    "trap : INT; \"$cachectl\" lock -- sh -c 'echo ready; exec sleep 60'; "
                    "echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
}

TEST_CASE("terminal: Ctrl-C ends run and its source, and nothing is stored") {
  const Sandbox sandbox;
  Terminal terminal(sandbox,
                    "trap : INT; \"$cachectl\" run --key k -- sh -c 'echo ready; exec sleep 60'; "
                    "echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
  CHECK(sandbox.run({"get", "k"}).status == 1);
  CHECK(sandbox.staged().empty());
}

TEST_CASE("terminal: Ctrl-C while waiting for the lock ends the wait") {
  const Sandbox sandbox;
  Running holder(sandbox.cachectl({"lock", "--", "sh", "-c", "echo held; exec sleep 60"}));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  Terminal terminal(sandbox, "trap : INT; echo ready; \"$cachectl\" set k v; echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
}

TEST_CASE("terminal: Ctrl-C ends a refresh of several keys, which shows how far it has come") {
  const Sandbox sandbox;
  const auto source = sandbox.script("source",
                                     "trap 'echo int >> ../log; n=1' INT; echo ready >> ../log\n"
                                     "while [ -z \"$n\" ]; do sleep 0.05; done\n"
                                     "for n in 1 2 3 4 5 6; do sleep 0.05; done; exit 130\n");
  configure(sandbox, "[entries.\"k*\"]\nsource = [\"" + source + "\"]\n");
  Terminal terminal(sandbox,
                    "trap : INT; \"$cachectl\" refresh k1 k2 k3 --jobs 2; echo \"status $?.\"");
  REQUIRE(terminal.shows("0/3: k1, k2"));
  REQUIRE(wait_until([&] { return content_of(sandbox.file("log")) == "ready\nready\n"; }));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
  // The terminal told all of them; each source heard it once.
  CHECK(content_of(sandbox.file("log")) == "ready\nready\nint\nint\n");
  CHECK(sandbox.staged().empty());
}

}  // namespace cachectl::test
