// What a person sees while a command waits or a source runs, and what a log gets of it.
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/cli/redis_process.hpp"
#include "tests/cli/screen.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

/// Holds the lock of k until the file `go` is there.
Running holder_of_k(const Sandbox& sandbox) {
  Running holder(sandbox.shell(
      "exec $cachectl lock --key k -- sh -c 'echo held; until [ -e ../go ]; do sleep 0.05; done'"));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  return holder;
}

std::size_t lines_with(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (const auto& line : lines_of(text)) count += line.find(part) != std::string::npos ? 1 : 0;
  return count;
}

bool changes(const Screen& screen) {
  const auto before = screen.text();
  return wait_until([&] { return screen.text() != before; });
}

}  // namespace

TEST_CASE("watching: a wait for a lock shows who holds it and what time is left, and goes") {
  for (const std::string command :
       {"set k v", "delete k", "delete --prefix k", "lock --key k -- true",
        "run --force --key k -- echo v >/dev/null", "acquire k --owner $$ >/dev/null"}) {
    CAPTURE(command);
    const Sandbox sandbox;
    REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
    auto holder = holder_of_k(sandbox);
    const Screen screen(
        sandbox, "export CACHECTL_TIMEOUT=5m; $cachectl " + command + "; echo \"status $?.\"");
    CHECK(screen.has("waiting for 'k': "));
    CHECK(screen.has("s left; held for "));
    CHECK(screen.has(" by pid " + std::to_string(holder.pid()) + " ("));
    CHECK(changes(screen));
    CHECK(lines_with(screen.text(), "waiting") == 1);
    write_file(sandbox.file("go"), "");
    CHECK(screen.is("status 0.\n"));
  }
}

TEST_CASE("watching: a wait for a replica shows who has it") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nmax = 1\ncopy = \"copy\"\n");
  REQUIRE(run(sandbox.shell("mkdir in; echo 1 >in/x; $cachectl set k --dir in")).status == 0);
  Running holder(sandbox.shell(
      "exec $cachectl pool exec k -- sh -c 'echo held; until [ -e ../go ]; do sleep 0.05; done'"));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  const Screen screen(sandbox, "$cachectl pool exec k -- echo mine; echo \"status $?.\"");
  CHECK(screen.has("waiting for a replica of 'k': "));
  CHECK(screen.has("s; held: replica 1 by pid "));
  CHECK(changes(screen));
  write_file(sandbox.file("go"), "");
  CHECK(screen.is("mine\nstatus 0.\n"));
}

TEST_CASE("watching: a wait for another machine says so") {
  const RedisProcess server;
  const Host leader(server);
  const Host waiter(server);
  const auto go = leader.sandbox().file("go");
  for (const auto* host : {&leader, &waiter}) {
    configure(host->sandbox(),
              "[entries.k]\nttl = \"1h\"\ncoordination = \"fleet\"\n"
              "shell = true\nsource = \"until [ -e " +
                  go + " ]; do sleep 0.05; done; echo v\"\n");
  }
  Running leading(leader.program({"get", "k"}));
  REQUIRE(wait_until([&] { return server.say("--raw keys '*'").ends_with("lead\n"); }));
  const Screen screen(waiter.sandbox(),
                      "export CACHECTL_REDIS_URL=" + server.url() +
                          " CACHECTL_REDIS_CONNECT_TIMEOUT=20s CACHECTL_REDIS_READ_TIMEOUT=20s; "
                          "$cachectl get k; echo \"status $?.\"");
  CHECK(screen.has("waiting for 'k': "));
  CHECK(screen.has("; another machine makes it"));
  CHECK(changes(screen));
  write_file(go, "");
  CHECK(screen.is("v\nstatus 0.\n"));
  CHECK(leading.wait().output == "v\n");
}

TEST_CASE("watching: drain shows who has the replicas that it waits for") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nmax = 1\ncopy = \"copy\"\n");
  REQUIRE(run(sandbox.shell("mkdir in; echo 1 >in/x; $cachectl set k --dir in")).status == 0);
  const Screen screen(sandbox,
                      "$cachectl pool exec k -- sh -c 'until [ -e ../go ]; do sleep 0.05; done' & "
                      "sleep 0.5; $cachectl pool drain k; echo \"status $?.\"");
  CHECK(screen.has("waiting for the replicas of 'k': "));
  CHECK(screen.has("s; held: replica 1 by pid "));
  write_file(sandbox.file("go"), "");
  CHECK(screen.is("status 0.\n"));
}

TEST_CASE("watching: a batch shows how far it is until one of its sources has something to say") {
  const Sandbox sandbox;
  const auto source =
      sandbox.script("source",
                     "if [ $CACHECTL_KEY = k1 ]; then\n"
                     "  until [ -e ../1 ]; do sleep 0.05; done; printf 'on' >&2\n"
                     "  until [ -e ../2 ]; do sleep 0.05; done; echo 'ce' >&2\n"
                     "else until [ -e ../2 ]; do sleep 0.05; done; sleep 1; fi; echo v\n");
  configure(sandbox, "[entries.\"k*\"]\nsource = [\"" + source + "\"]\n");
  const Screen screen(sandbox, "$cachectl refresh k1 k2; echo \"status $?.\"");
  CHECK(screen.has("0/2: k1, k2"));
  write_file(sandbox.file("1"), "");
  CHECK(screen.is("on\n"));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));  // time for a line to come
  CHECK(screen.text() == "on\n");
  write_file(sandbox.file("2"), "");
  CHECK(screen.is("once\ncachectl: refresh: refreshed 2\nstatus 0.\n"));
}

TEST_CASE("watching: the line is gone after Ctrl-C, and the status is that of the signal") {
  const Sandbox sandbox;
  const auto holder = holder_of_k(sandbox);
  const Screen screen(sandbox, "trap : INT; stty -echo; $cachectl set k v; echo \"status $?.\"");
  REQUIRE(screen.has("waiting for 'k': "));
  screen.press("C-c");
  CHECK(screen.is("status 130.\n"));
}

TEST_CASE("watching: a line is cut to the width of the terminal") {
  const Sandbox sandbox;
  auto holder = holder_of_k(sandbox);
  const Screen screen(sandbox, "$cachectl set k v; echo \"status $?.\"", 40);
  CHECK(screen.has("waiting for 'k': "));
  CHECK(changes(screen));
  CHECK(lines_of(screen.text()).size() == 1);
  CHECK(lines_of(screen.text())[0].size() == 39);
  write_file(sandbox.file("go"), "");
  CHECK(screen.is("status 0.\n"));
}

TEST_CASE("watching: a source that runs shows for how long, and what it says is left whole") {
  const Sandbox sandbox;
  const auto source = sandbox.script("source",
                                     "wait_for() { until [ -e ../$1 ]; do sleep 0.05; done; }\n"
                                     "wait_for 1; printf 'on' >&2; wait_for 2; echo 'ce' >&2\n"
                                     "wait_for 3; echo out\n");
  const Screen screen(sandbox, "$cachectl run --key k -- " + source + "; echo \"status $?.\"");
  CHECK(screen.has("refreshing k: "));
  CHECK(changes(screen));
  write_file(sandbox.file("1"), "");
  CHECK(screen.is("on\n"));
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // time for a line to come
  CHECK(screen.text() == "on\n");
  write_file(sandbox.file("2"), "");
  CHECK(screen.is("once\n"));
  write_file(sandbox.file("3"), "");
  CHECK(screen.is("once\nout\nstatus 0.\n"));
}

TEST_CASE(
    "watching: a source whose output goes elsewhere shows for how long it runs until its end") {
  const Sandbox sandbox;
  const Screen screen(
      sandbox,
      "$cachectl run --key k -- sh -c 'echo some; until [ -e ../go ]; do sleep "
      "0.05; done; exec >&- 2>&-; : >../closed; sleep 3' >../out; echo \"status $?.\"");
  CHECK(screen.has("refreshing k: "));
  write_file(sandbox.file("go"), "");
  REQUIRE(wait_until([&] { return fs::exists(sandbox.file("closed")); }));
  CHECK(changes(screen));
  CHECK(screen.has("refreshing k: "));
  CHECK(screen.is("status 0.\n"));
}

TEST_CASE("watching: a waiter behind a leader sees whom it waits for, and then the result") {
  const Sandbox sandbox;
  Running leader(sandbox.shell(
      "exec $cachectl run --key k -- sh -c 'echo started >&2; until [ -e ../go ]; do sleep 0.05; "
      "done; echo value'"));
  REQUIRE(wait_until([&] { return leader.errors() == "started\n"; }));
  const Screen screen(sandbox, "$cachectl run --key k -- echo not-run; echo \"status $?.\"");
  CHECK(screen.has("waiting for 'k': "));
  CHECK(screen.has("s; held for "));
  write_file(sandbox.file("go"), "");
  CHECK(screen.is("value\nstarted\nstatus 0.\n"));
}

TEST_CASE("watching: nothing is shown with --quiet, nor by a job in the background") {
  for (const std::string line : {"$cachectl --quiet set k v", "set -m; $cachectl set k v & wait"}) {
    CAPTURE(line);
    const Sandbox sandbox;
    auto holder = holder_of_k(sandbox);
    const Screen screen(sandbox, line + "; echo \"status $?.\"");
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // time for a line to come
    CHECK(screen.text().empty());
    write_file(sandbox.file("go"), "");
    CHECK(screen.is("status 0.\n"));
  }
}

TEST_CASE("watching: a log gets one line of a wait of more than 5 s, and none of a shorter one") {
  const Sandbox sandbox;
  auto holder = holder_of_k(sandbox);
  Running patient(sandbox.cachectl({"set", "k", "v"}));
  Running quiet(sandbox.cachectl({"-q", "set", "k", "v"}));
  std::this_thread::sleep_for(std::chrono::seconds(4));
  Running late(sandbox.cachectl({"set", "k", "v"}));
  // One that gives up says so anyway.
  const auto gave_up = sandbox.run({"set", "k", "v", "--timeout", "1500ms"});
  CHECK(gave_up.status == 124);
  CHECK(is_one_message(gave_up.errors));
  write_file(sandbox.file("go"), "");
  const auto said = patient.wait();
  CHECK(said.status == 0);
  CHECK(is_one_message(said.errors));
  CHECK(said.errors.find("waited ") != std::string::npos);
  CHECK(said.errors.find("s for 'k'; held for ") != std::string::npos);
  CHECK(said.errors.find("pid " + std::to_string(holder.pid())) != std::string::npos);
  CHECK(late.wait().errors.empty());
  CHECK(quiet.wait().errors.empty());
}

}  // namespace cachectl::test
