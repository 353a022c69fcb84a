// cachectl acquire and release: who owns a lease, whom it excludes, and how it ends.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>

#include "tests/cli/leases.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

}  // namespace

TEST_CASE("acquire: of a key keeps all writers of it out, and nobody else") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "old"}).status == 0);
  const auto id = acquire(sandbox, {"k"});
  CHECK(sandbox.run({"set", "k", "new", "--timeout", "50ms"}).status == 124);
  CHECK(sandbox.run({"delete", "k", "--timeout", "50ms"}).status == 124);
  CHECK(sandbox.run({"run", "--force", "--key", "k", "--timeout", "50ms", "echo", "x"}).status ==
        124);
  CHECK(sandbox.run({"lock", "--key", "k", "--try", "true"}).status == 1);
  CHECK(sandbox.run({"lock", "--try", "true"}).status == 1);
  CHECK(sandbox.run({"acquire", "k", "--timeout", "50ms"}).status == 124);
  const auto tried = sandbox.run({"acquire", "k", "--try"});
  CHECK(tried.status == 1);
  CHECK(tried.output.empty());
  CHECK(tried.errors.empty());
  CHECK(sandbox.run({"get", "k"}).output == "old");

  CHECK(sandbox.run({"set", "other", "v", "--timeout", "10s"}).status == 0);
  CHECK(sandbox.run({"run", "--key", "b", "--timeout", "10s", "true"}).status == 0);
  const auto second = acquire(sandbox, {"another"});
  CHECK(sandbox.run({"release", second}).status == 0);

  const auto released = sandbox.run({"release", id});
  CHECK(released.status == 0);
  CHECK(released.output.empty());
  CHECK(is_free(sandbox, "k"));
}

TEST_CASE("acquire: without a key keeps all writers out, and readers go on") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "old"}).status == 0);
  const auto id = acquire(sandbox);
  CHECK(sandbox.run({"set", "k", "new", "--timeout", "50ms"}).status == 124);
  CHECK(sandbox.run({"set", "other", "new", "--timeout", "50ms"}).status == 124);
  CHECK(sandbox.run({"acquire", "--try"}).status == 1);
  CHECK(sandbox.run({"get", "k"}).output == "old");
  CHECK(sandbox.run({"release", id}).status == 0);
  CHECK(sandbox.run({"set", "k", "new", "--timeout", "0"}).status == 0);
}

TEST_CASE("acquire: shared leases coexist and keep an exclusive one out") {
  const Sandbox sandbox;
  const auto first = acquire(sandbox, {"k", "--shared"});
  const auto second = acquire(sandbox, {"k", "--shared"});
  CHECK(sandbox.run({"acquire", "k", "--try"}).status == 1);
  CHECK(sandbox.run({"release", first}).status == 0);
  CHECK(sandbox.run({"acquire", "k", "--try"}).status == 1);
  CHECK(sandbox.run({"release", second}).status == 0);
  CHECK(sandbox.run({"acquire", "k", "--try"}).status == 0);
}

TEST_CASE("acquire: a hundred who wait are all served, one after the other") {
  const Sandbox sandbox;
  write_file(sandbox.file("count"), "0\n");
  const auto outcome = run(
      sandbox.shell("for i in $(seq 100); do (\n"
                    "  id=$(\"$cachectl\" acquire k --quiet --owner $$ --timeout 100s) || exit 1\n"
                    "  read -r n <../count; echo $((n + 1)) >../count\n"
                    "  \"$cachectl\" release \"$id\" || exit 1\n"
                    ") & done; wait"));
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  CHECK(content_of(sandbox.file("count")) == "100\n");
  CHECK(fs::is_empty(sandbox.root() + "/leases"));
}

TEST_CASE("acquire: $(...) and a pipe end at once, although the lease lives") {
  const Sandbox sandbox;
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome =
      run(sandbox.shell("id=$(\"$cachectl\" acquire a); \"$cachectl\" acquire b | cat >../piped\n"
                        "\"$cachectl\" lease list; \"$cachectl\" release $id && \"$cachectl\" "
                        "release $(cat ../piped)"));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(is_sanitized() ? 20 : 5));
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  CHECK(lines_of(outcome.output).size() == 2);
}

TEST_CASE("acquire: the holder keeps nothing of its caller") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  const auto proc = "/proc/" + std::to_string(holder_of_lease(sandbox, id));
  CHECK(fs::read_symlink(proc + "/cwd") == "/");
  CHECK(content_of(proc + "/comm") == "cachectl-lease\n");
  for (const auto& item : fs::directory_iterator(proc + "/fd")) {
    const auto target = fs::read_symlink(item.path()).string();
    INFO(target);
    CHECK((target == "/dev/null" || target.starts_with("anon_inode:") ||
           target.starts_with("socket:") || target == sandbox.root() ||
           target == sandbox.root() + "/cache.lock" ||
           target.starts_with(sandbox.root() + "/leases")));
  }
  CHECK(sandbox.run({"release", id}).status == 0);
  CHECK(wait_until([&] { return !fs::exists(proc); }));
}

TEST_CASE("acquire: who waits is told the owner, and not the command that has ended") {
  const Sandbox sandbox;
  Shell shell(sandbox, "id=$(\"$cachectl\" acquire k); echo $id");
  const auto outcome = sandbox.run({"set", "k", "v", "--timeout", "50ms"});
  CHECK(outcome.status == 124);
  CHECK_THAT(outcome.errors,
             Catch::Contains("pid " + std::to_string(shell.running().pid()) + " (sh -c "));
  CHECK_THAT(outcome.errors, !Catch::Contains("gone"));
}

TEST_CASE("acquire: when the owner is killed the lock is free at once") {
  const Sandbox sandbox;
  using Words = std::vector<std::string>;
  for (const auto& shell : {Words{"dash"}, Words{"bash"}, Words{"zsh"}, Words{"busybox", "sh"}}) {
    if (run(sandbox.program({"sh", "-c", "command -v " + shell[0]})).status != 0) {
      WARN("no " << shell[0] << " here: not tested with it");
      continue;
    }
    for (const std::string script :
         {"id=$(\"$cachectl\" acquire k); echo $id",
          "set -e; id=$(\"$cachectl\" acquire k); echo $id",
          "id=$(\"$cachectl\" acquire k --owner $$); echo $id", "\"$cachectl\" acquire k | cat",
          "(\"$cachectl\" acquire k; true)", "(id=$(\"$cachectl\" acquire k; true); echo $id)",
          "f() { \"$cachectl\" acquire k; }; x=$(f | cat; true); echo $x"}) {
      INFO(shell[0] << ": " << script);
      Shell owner(sandbox, script, shell);
      CHECK(shown(sandbox, owner.id())["pid"] == owner.running().pid());
      CHECK_FALSE(is_free(sandbox, "k"));
      owner.kill();
      CHECK(becomes_free(sandbox, "k"));
    }
  }
}

TEST_CASE("acquire: an owner that is not there, or no process, is refused") {
  const Sandbox sandbox;
  for (const char* bad : {"0", "-1", "x", "", "99999999999999", "4194305"}) {
    const auto outcome = sandbox.run({"acquire", "k", "--owner", bad});
    INFO(bad << ": " << outcome.errors);
    CHECK(outcome.status == 2);
    CHECK(outcome.output.empty());
    CHECK(is_one_message(outcome.errors));
  }
  CHECK(sandbox.run({"acquire", "k", "--lease", "0"}).status == 2);
  CHECK(sandbox.run({"acquire", "k", "--lease", "5"}).status == 2);
  CHECK(sandbox.run({"acquire", ""}).status == 2);
}

TEST_CASE("acquire: an owner that ends while we wait gets nothing") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  Running owner(sandbox.program({"sleep", "100"}));
  Running waiter(sandbox.cachectl({"acquire", "k", "--owner", std::to_string(owner.pid())}));
  REQUIRE(wait_until(
      [&] { return content_of("/proc/" + std::to_string(owner.pid()) + "/comm") == "sleep\n"; }));
  REQUIRE(wait_until([&] {
    return content_of("/proc/" + std::to_string(waiter.pid()) + "/stat").find(") S ") !=
           std::string::npos;
  }));
  owner.send(SIGKILL);
  owner.wait();
  REQUIRE(sandbox.run({"release", id}).status == 0);
  const auto outcome = waiter.wait();
  CHECK(outcome.status != 0);
  CHECK(outcome.output.empty());
  CHECK(is_one_message(outcome.errors));
  CHECK(becomes_free(sandbox, "k"));
}

TEST_CASE("acquire: an id that cannot be told is no lease") {
  const Sandbox sandbox;
  auto program = sandbox.cachectl({"acquire", "k"});
  program.close_output = true;
  CHECK(run(program).status == 125);
  CHECK(becomes_free(sandbox, "k"));
  CHECK(wait_until([&] { return fs::is_empty(sandbox.root() + "/leases"); }));
}

TEST_CASE("release: says what became of a lease that is not there any more") {
  const Sandbox sandbox;
  check_lost(sandbox.run({"release", "0123456789abcdef"}), 1, "there is no cache");
  const auto id = acquire(sandbox, {"k"});
  CHECK(sandbox.run({"release", id}).status == 0);
  check_lost(sandbox.run({"release", id}), 1, "was released, or never was");
  check_lost(sandbox.run({"release", "0123456789abcdef"}), 1, "was released, or never was");

  Shell shell(sandbox, "id=$(\"$cachectl\" acquire k); echo $id");
  const auto of_shell = shell.id();
  shell.kill();
  REQUIRE(becomes_free(sandbox, "k"));
  REQUIRE(wait_until([&] { return !shown(sandbox, of_shell)["alive"].get<bool>(); }));
  check_lost(sandbox.run({"release", of_shell}), 1, "has ended");

  const auto brief = acquire(sandbox, {"k", "--lease", "50ms"});
  REQUIRE(becomes_free(sandbox, "k"));
  REQUIRE(wait_until([&] { return !shown(sandbox, brief)["alive"].get<bool>(); }));
  check_lost(sandbox.run({"release", brief}), 1, "expired");

  const auto killed = acquire(sandbox, {"k"});
  ::kill(holder_of_lease(sandbox, killed), SIGKILL);
  REQUIRE(becomes_free(sandbox, "k"));
  check_lost(sandbox.run({"release", killed}), 1, "killed");

  const auto told = acquire(sandbox, {"k"});
  ::kill(holder_of_lease(sandbox, told), SIGTERM);
  REQUIRE(becomes_free(sandbox, "k"));
  REQUIRE(wait_until([&] { return !shown(sandbox, told)["alive"].get<bool>(); }));
  check_lost(sandbox.run({"release", told}), 1, "signal");
}

TEST_CASE("release: what is no id is refused, and no path is made of it") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  for (const std::string& bad :
       {std::string("../x"), std::string(), std::string(300, 'a'), std::string("0123456789ABCDEF"),
        std::string("0123456789abcde/"), std::string("0123456789abcdef.socket")}) {
    for (const auto& outcome :
         {sandbox.run({"release", "--", bad}), sandbox.run({"lease", "show", "--", bad}),
          sandbox.run({"lease", "renew", "--lease", "1s", "--", bad}),
          sandbox.run({"set", "k", "w", "--lease=" + bad}),
          sandbox.run({"delete", "k", "--lease=" + bad})}) {
      INFO(bad << ": " << outcome.errors);
      CHECK(outcome.status == 2);
      CHECK(is_one_message(outcome.errors));
      CHECK(outcome.errors.size() < 200);
    }
  }
  CHECK(sandbox.run({"get", "k"}).output == "v");
}

TEST_CASE("release: a stopped holder hangs nobody") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  const auto holder = holder_of_lease(sandbox, id);
  ::kill(holder, SIGSTOP);
  Running set(sandbox.cachectl({"set", "k", "v", "--lease", id}));
  const auto outcome = sandbox.run({"release", id});
  CHECK(outcome.status == 124);
  CHECK(is_one_message(outcome.errors));
  CHECK_THAT(outcome.errors, Catch::Contains("kill -CONT " + std::to_string(holder)));
  CHECK(set.wait().status == 124);
  CHECK(shown(sandbox, id)["alive"] == true);
  ::kill(holder, SIGCONT);
  CHECK(becomes_free(sandbox, "k"));  // the request to release it was waiting
}

TEST_CASE("acquire: what only waits for the command does not own the lease") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "held() { $cachectl lock --key k --try -- true; echo $?; $cachectl release $1; }\n"
      "held $(timeout 60 $cachectl acquire k); held $(flock f $cachectl acquire k)\n"
      "held $(echo k | xargs $cachectl acquire)\n"
      "held $(timeout 60 flock f timeout 60 $cachectl acquire k)"));
  CHECK(outcome.output == "1\n1\n1\n1\n");
  CHECK(outcome.errors == "");
}

TEST_CASE("lease show: says what became of one that has ended, with status 1") {
  const Sandbox sandbox;
  const auto outcome =
      run(sandbox.shell("id=$($cachectl acquire k); $cachectl lease show $id >/dev/null; echo $?\n"
                        "kill -9 $(sed -n 's/^holder=//p' $CACHECTL_ROOT/leases/*[0-9a-f])\n"
                        "until test -z \"$($cachectl lease list)\"; do sleep 0.01; done\n"
                        "$cachectl lease show $id | grep -q holder && echo told; $cachectl lease "
                        "show $id >/dev/null\n"
                        "echo $?"));
  CHECK(outcome.output == "0\ntold\n1\n");
}

}  // namespace cachectl::test
