// cachectl lock: who excludes whom, and what a command under the lock can do.
#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

/// cachectl lock OPTIONS -- a command that says "held" and ends when told to.
class Holder {
 public:
  Holder(const Sandbox& sandbox, std::vector<std::string> options)
      : gate_(sandbox.file("gate" + std::to_string(count_++))), running_(start(sandbox, options)) {
    REQUIRE(wait_until([&] { return running_.output() == "held\n"; }));
  }

  void let_go() {
    write_file(gate_, "");
    CHECK(running_.wait().status == 0);
  }
  Running& running() { return running_; }

 private:
  [[nodiscard]] Running start(const Sandbox& sandbox,
                              const std::vector<std::string>& options) const {
    std::vector<std::string> arguments{"lock"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    for (const auto* word : {"--", "sh", "-c"}) arguments.emplace_back(word);
    arguments.push_back("echo held; while [ ! -e " + gate_ + " ]; do sleep 0.02; done");
    return Running(sandbox.cachectl(arguments));
  }

  inline static int count_ = 0;
  std::string gate_;
  Running running_;
};

int try_lock(const Sandbox& sandbox, std::vector<std::string> options) {
  std::vector<std::string> arguments{"lock", "--try"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {"--", "true"});
  return sandbox.run(arguments).status;
}

}  // namespace

TEST_CASE("lock: returns the exit status of the command") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"lock", "--", "true"}).status == 0);
  CHECK(sandbox.run({"lock", "--", "sh", "-c", "exit 42"}).status == 42);
  CHECK(sandbox.run({"lock", "sh", "-c", "kill -KILL $$"}).status == 128 + SIGKILL);
  CHECK(sandbox.run({"lock", "sh", "-c", "kill -TERM $$"}).status == 128 + SIGTERM);
  const auto missing = sandbox.run({"lock", "--", "no-such-command"});
  CHECK(missing.status == 127);
  CHECK(is_one_message(missing.errors));
  const auto not_runnable = sandbox.run({"lock", "--", "/etc/passwd"});
  CHECK(not_runnable.status == 126);
  CHECK(is_one_message(not_runnable.errors));
  CHECK(sandbox.run({"lock"}).status == 2);
}

TEST_CASE("lock: standard input, output and errors are the command's own") {
  const Sandbox sandbox;
  auto program = sandbox.cachectl({"lock", "--", "sh", "-c", "cat; echo note >&2"});
  program.input = "from the pipe";
  const auto outcome = run(program);
  CHECK(outcome.output == "from the pipe");
  CHECK(outcome.errors == "note\n");
}

TEST_CASE("lock: --try on a held lock is 1 at once and says nothing") {
  const Sandbox sandbox;
  Holder holder(sandbox, {});
  const auto outcome = sandbox.run({"lock", "--try", "--", "echo", "ran"});
  CHECK(outcome.status == 1);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors.empty());
  holder.let_go();
  CHECK(try_lock(sandbox, {}) == 0);
}

TEST_CASE("lock: --timeout gives up with 124 and says who holds it, what for and since when") {
  const Sandbox sandbox;
  Holder holder(sandbox, {});
  const auto outcome = sandbox.run({"lock", "--timeout", "100ms", "--", "echo", "ran"});
  CHECK(outcome.status == 124);
  CHECK(outcome.output.empty());
  CHECK(is_one_message(outcome.errors));
  CHECK_THAT(outcome.errors,
             Catch::Contains("pid " + std::to_string(holder.running().pid()) + " "));
  CHECK_THAT(outcome.errors, Catch::Contains("echo held"));
  CHECK_THAT(outcome.errors, Catch::Contains(" since ") && Catch::Contains(" UTC"));
  CHECK(sandbox.run({"lock", "--timeout", "0", "-E", "77", "--", "true"}).status == 77);
  CHECK(sandbox.run({"-E", "78", "set", "k", "v", "--timeout", "50ms"}).status == 78);
  CHECK(sandbox.run({"get", "k"}).status == 1);
}

TEST_CASE("lock: shared locks coexist and keep an exclusive one out") {
  const Sandbox sandbox;
  Holder first(sandbox, {"--shared"});
  Holder second(sandbox, {"--shared"});
  CHECK(try_lock(sandbox, {"--shared"}) == 0);
  CHECK(try_lock(sandbox, {}) == 1);
  first.let_go();
  CHECK(try_lock(sandbox, {}) == 1);
  second.let_go();
  CHECK(try_lock(sandbox, {}) == 0);
}

TEST_CASE("lock: keys exclude only themselves, and the whole excludes all keys") {
  const Sandbox sandbox;
  Holder a(sandbox, {"--key", "a"});
  CHECK(try_lock(sandbox, {"--key", "a"}) == 1);
  CHECK(try_lock(sandbox, {"--key", "b"}) == 0);
  CHECK(try_lock(sandbox, {}) == 1);
  CHECK(sandbox.run({"set", "b", "v"}).status == 0);
  CHECK(sandbox.run({"set", "a", "v", "--timeout", "50ms"}).status == 124);
  a.let_go();
  Holder whole(sandbox, {});
  CHECK(try_lock(sandbox, {"--key", "a"}) == 1);
  CHECK(try_lock(sandbox, {"--key", "b", "--shared"}) == 1);
  CHECK(sandbox.run({"set", "b", "w", "--timeout", "50ms"}).status == 124);
  CHECK(sandbox.run({"get", "b"}).output == "v");
}

TEST_CASE("lock: a stopped holder still holds, and a deadline passes beside it") {
  const Sandbox sandbox;
  Holder holder(sandbox, {});
  holder.running().stop();
  CHECK(sandbox.run({"lock", "--timeout", "100ms", "--", "true"}).status == 124);
  holder.running().send(SIGCONT);
  holder.let_go();
  CHECK(try_lock(sandbox, {}) == 0);
}

TEST_CASE("lock: while its command lives on, a killed wrapper's lock is held") {
  const Sandbox sandbox;
  const auto gate = sandbox.file("gate");
  Running wrapper(sandbox.cachectl(
      {"lock", "--", "sh", "-c", "echo held; while [ ! -e " + gate + " ]; do sleep 0.02; done"}));
  REQUIRE(wait_until([&] { return wrapper.output() == "held\n"; }));
  wrapper.send(SIGKILL);
  CHECK(wrapper.wait().status == 128 + SIGKILL);
  CHECK(try_lock(sandbox, {}) == 1);
  CHECK_THAT(sandbox.run({"lock", "--timeout", "50ms", "true"}).errors,
             Catch::Contains("that process is gone"));
  write_file(gate, "");
  CHECK(sandbox.run({"lock", "--timeout", "60s", "--", "true"}).status == 0);
}

TEST_CASE("lock: commands of cachectl inside use its lock") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "\"$cachectl\" lock --timeout 5s -- sh -ec '\"$cachectl\" set --timeout 5s a b; "
      "\"$cachectl\" run --timeout 5s --key c -- echo d; "
      "\"$cachectl\" lock --timeout 5s --key a -- \"$cachectl\" set --timeout 5s a e; "
      "\"$cachectl\" lock --timeout 5s -- \"$cachectl\" delete --timeout 5s c'"));
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  CHECK(outcome.output == "d\n");
  CHECK(sandbox.run({"get", "a"}).output == "e");
  CHECK(sandbox.run({"get", "c"}).status == 1);
}

TEST_CASE("lock: who waits is told of its holder, also when commands inside have used it") {
  const Sandbox sandbox;
  Running holder(sandbox.shell(
      "exec $cachectl lock --key k -- sh -c '$cachectl set k v; echo done; sleep 1000'"));
  REQUIRE(wait_until([&] { return holder.output() == "done\n"; }));
  const auto late = sandbox.run({"set", "k", "w", "--timeout", "50ms"});
  CHECK(late.status == 124);
  CHECK_THAT(late.errors,
             Catch::Contains("held by pid " + std::to_string(holder.pid()) + " (sh -c"));
  const auto lease = sandbox.run({"acquire", "l", "--owner", std::to_string(::getpid())}).output;
  REQUIRE(sandbox.run({"set", "l", "v", "--lease", lease.substr(0, 16)}).status == 0);
  CHECK_THAT(sandbox.run({"set", "l", "w", "--timeout", "50ms"}).errors,
             Catch::Contains("held by pid " + std::to_string(::getpid()) + " "));
}

TEST_CASE(
    "lock: who gives up is told of the holder's command, but a terminal is not told to obey") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nmax = 1\ncopy = \"copy\"\n");
  REQUIRE(sandbox.run({"set", "k", "--dir", sandbox.file("work")}).status == 0);
  const std::string script = "echo; exec sleep 60 # \x9b\xc2\x9b\xff\x1b";
  for (const auto& words :
       {std::vector<std::string>{"lock", "--key", "k"}, {"pool", "exec", "k"}}) {
    auto holding = words;
    holding.insert(holding.end(), {"--", "sh", "-c", script});
    Running holder(sandbox.cachectl(holding));
    REQUIRE(wait_until([&] { return holder.output() == "\n"; }));
    auto asking = words;
    asking.insert(asking.end(), {"--timeout", "10ms", "--", "true"});
    const auto outcome = sandbox.run(asking);
    CHECK(outcome.status == 124);
    CHECK_THAT(outcome.errors, Catch::Contains("sleep 60 # \\x9b\\xc2\\x9b\\xff"));
    const bool is_plain = std::all_of(outcome.errors.begin(), outcome.errors.end(), [](char byte) {
      return byte == '\n' || (byte >= 0x20 && byte < 0x7f);
    });
    CHECK(is_plain);
  }
}

TEST_CASE("lock: those who run one key inside it share one run") {
  const Sandbox sandbox;
  const auto source = sandbox.script("source", "echo ran >> ../log; sleep 0.5; echo value\n");
  const auto outcome = run(
      sandbox.shell("\"$cachectl\" lock -- sh -c 'for i in 1 2 3 4 5 6 7 8; do \"$cachectl\" run "
                    "--ttl 1h --key k -- " +
                    source + " & done; wait'"));
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  CHECK(lines_of(outcome.output) == std::vector<std::string>(8, "value"));
  CHECK(content_of(sandbox.file("log")) == "ran\n");
}

TEST_CASE("lock: what would wait for itself is refused at once as a mistake") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "kept", "v"}).status == 0);
  const auto shared = run(sandbox.shell("\"$cachectl\" lock --shared -- \"$cachectl\" set a b"));
  CHECK(shared.status == 2);
  CHECK(is_one_message(shared.errors));
  const auto wider =
      run(sandbox.shell("\"$cachectl\" lock --key a -- \"$cachectl\" lock -- echo ran"));
  CHECK(wider.status == 2);
  CHECK(wider.output.empty());
  CHECK(is_one_message(wider.errors));
}

TEST_CASE("lock: beside a held key other keys can be deleted from within") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "a", "v"}).status == 0);
  REQUIRE(sandbox.run({"set", "b", "v"}).status == 0);
  CHECK(run(sandbox.shell("\"$cachectl\" lock --key a -- \"$cachectl\" delete --all --yes "
                          "--timeout 10s"))
            .status == 0);
  CHECK(sandbox.run({"ls"}).output.empty());
}

TEST_CASE("lock: what a command leaves behind keeps the lock, as with flock, and works under it") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "mkfifo go; \"$cachectl\" lock -- sh -c '(read line < go; \"$cachectl\" set a b; echo $? > "
      "../status; \"$cachectl\" run --key c -- echo d >> ../status) > /dev/null 2>&1 &'; echo $?\n"
      "\"$cachectl\" lock --try -- echo free; echo $?\n"
      "echo > go; \"$cachectl\" lock -- cat ../status"));
  CHECK(outcome.output == "0\n1\n0\nd\n");
  CHECK(sandbox.run({"get", "a"}).output == "b");
}

TEST_CASE("lock: a command whose lock is not held any more writes nothing") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "kept", "v"}).status == 0);
  // The descriptor is open, and the lock that it is said to carry is not there.
  const auto outcome = run(sandbox.shell(
      "exec 9<>$CACHECTL_ROOT/cache.lock; CACHECTL_LOCK=9:0:0:x \"$cachectl\" set a b; echo $?"));
  CHECK(outcome.output == "125\n");
  CHECK(is_one_message(outcome.errors));
  CHECK(sandbox.run({"get", "a"}).status == 1);
}

}  // namespace cachectl::test
