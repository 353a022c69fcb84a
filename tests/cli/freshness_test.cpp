// Stale values and failing sources, as scripts see them.
#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "lock/process.hpp"
#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

const std::size_t kCrowd = is_sanitized() ? 40 : 250;

/// Entries whose source is the script `source`, which logs its starts.
class Configured {
 public:
  explicit Configured(const std::string& options) {
    write_file(log(), "");
    configure(sandbox_,
              "[entries.key]\nsource = [\"" + sandbox_.file("source") + "\"]\n" + options);
    source_does("echo one");
  }

  void source_does(const std::string& work) const {
    static_cast<void>(sandbox_.script(
        "source", "#!/bin/sh\necho \"$$ $PPID\" >> '" + log() + "'\n" + work + "\n"));
  }
  [[nodiscard]] std::string log() const { return sandbox_.file("log"); }
  [[nodiscard]] std::vector<std::string> starts() const { return lines_of(content_of(log())); }
  /// The refresher of the last start.
  [[nodiscard]] pid_t last_refresher() const {
    const auto line = starts().back();
    return std::stoi(line.substr(line.find(' ')));
  }
  [[nodiscard]] const Sandbox& sandbox() const { return sandbox_; }
  [[nodiscard]] std::string get() const { return text_of(sandbox_.run({"get", "key"})); }

  static std::string text_of(const Outcome& outcome) {
    return std::to_string(outcome.status) + " [" + outcome.output + "] [" + outcome.errors + "]";
  }

  std::vector<Outcome> crowd() const {
    std::vector<Running> askers;
    for (std::size_t index = 0; index < kCrowd; ++index) {
      askers.emplace_back(sandbox_.cachectl({"get", "key"}));
    }
    std::vector<Outcome> outcomes;
    for (auto& each : askers) outcomes.push_back(each.wait());
    return outcomes;
  }

 private:
  Sandbox sandbox_;
};

/// Stale at once, and for long.
constexpr auto kStale = "ttl = \"1ms\"\nstale-while-revalidate = \"1h\"\n";

}  // namespace

TEST_CASE("get: a configured key is made on a miss, and then served") {
  const Configured test("ttl = \"1h\"\n");
  CHECK(test.get() == "0 [one\n] []");
  test.source_does("echo two");
  CHECK(test.get() == "0 [one\n] []");
  CHECK(test.starts().size() == 1);
  CHECK(test.sandbox().run({"get", "other"}).status == 1);
  const auto json = test.sandbox().run({"get", "--json", "key"});
  CHECK(json.output.find("\"value\":\"one\\n\"") != std::string::npos);
}

TEST_CASE("get: a source that fails is told by its status and its words") {
  const Configured test("");
  test.source_does("echo why >&2; exit 9");
  CHECK(test.get() == "9 [] [why\n]");
  test.source_does("exit 0");
  CHECK(test.get() == "0 [] []");
}

TEST_CASE("get: what cannot be stored is made by the same rules, and lost nowhere") {
  if (::geteuid() != 0) return;
  const Configured test(
      "empty = \"error\"\n[entries.\"user:*\"]\nshell = true\nsource = \"echo I am "
      "$CACHECTL_KEY\"\n");
  const auto root = test.sandbox().root();
  std::filesystem::create_directory(root);
  const auto outcome = run(test.sandbox().shell(
      "set -e\nmount -t tmpfs -o size=512k,mode=0700 tmpfs '" + root +
      "'\n"
      "trap 'umount \"" +
      root +
      "\"' EXIT\n$cachectl set k v\n"
      "dd if=/dev/zero of='" +
      root +
      "/fill' bs=4k 2>/dev/null || :\n"
      "$cachectl get user:1 user:2 2>/dev/null || echo status $?\n"
      "mount -o remount,ro '" +
      root +
      "'\n$cachectl get user:3 2>/dev/null\n"
      "$cachectl run --empty-is-error -- true 2>/dev/null || echo status $?\n"));
  CHECK(outcome.output == "I am user:1\nI am user:2\nstatus 125\nI am user:3\nstatus 1\n");
}

TEST_CASE("get: under the lease of its shell, and told when it asks for itself") {
  const Configured test(
      "[entries.self]\nshell = true\nsource = \"echo run >> runs; $cachectl get "
      "self\"\n[entries.tree]\nkind = \"tree\"\nsource = [\"true\"]\n[entries.\"u:*\"]\nsource = "
      "[\"true\"]\n");
  const auto outcome = run(test.sandbox().shell(
      "CACHECTL_LEASE=$($cachectl acquire); export CACHECTL_LEASE\n"
      "$cachectl get --timeout 5s key; $cachectl release $CACHECTL_LEASE; unset CACHECTL_LEASE\n"
      "$cachectl get self; echo $?; wc -l < runs; $cachectl get tree; echo $?\n"
      "$cachectl refresh 'u:*'; echo $?; $cachectl run --ttl 1s --strategy default -- true; echo "
      "$?"));
  CHECK(outcome.output == "one\n2\n1\n2\n2\n2\n");
  CHECK(outcome.errors.find("the source of 'self' asks for 'self' itself") != std::string::npos);
}

TEST_CASE("get: the timeout of an entry gives way to that of the command line") {
  const Configured test("timeout = \"50ms\"\nttl = \"1ms\"\n");
  Running holder(test.sandbox().cachectl({"lock", "--key", "key", "--", "sleep", "1000"}));
  REQUIRE(wait_until([&] { return test.sandbox().run({"get", "key"}).status == 124; }));
  Running asker(test.sandbox().cachectl({"get", "--timeout", "1m", "key"}));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK_FALSE(asker.has_ended());
  holder.send(SIGTERM);
  CHECK(Configured::text_of(asker.wait()) == "0 [one\n] []");
}

TEST_CASE("show: tells what is stale, and how often the source has failed since") {
  const Configured test("ttl = \"1ms\"\nstale-if-error = \"1h\"\nbreaker = { failures = 9 }\n");
  const auto shown = [&] { return test.sandbox().run({"show", "key"}).output; };
  CHECK(test.get() == "0 [one\n] []");
  CHECK(shown().find("\nstate         expired\n") != std::string::npos);
  CHECK(shown().find("\nif error      for 1h after that\n") != std::string::npos);
  CHECK(shown().find("failures") == std::string::npos);
  test.source_does("exit 9");
  for (int time = 0; time < 2; ++time) CHECK(test.sandbox().run({"get", "key"}).status == 0);
  CHECK(shown().find("\nfailures      2 in a row, the last with status 9, ") != std::string::npos);
  test.source_does("echo two");
  CHECK(test.get() == "0 [two\n] []");
  CHECK(shown().find("failures") == std::string::npos);
  CHECK(test.sandbox().run({"set", "k", "v", "--ttl", "1ms"}).status == 0);
  CHECK(test.sandbox().run({"show", "k"}).output.find("state         expired") !=
        std::string::npos);
}

TEST_CASE("get: a pattern gives keys a source") {
  const Sandbox sandbox;
  configure(sandbox,
            "[entries.\"user:*\"]\nsource = \"echo I am $CACHECTL_KEY in $LANG, $PWD\"\n"
            "shell = true\nenvironment = { LANG = \"C\" }\ndirectory = \"/usr\"\n"
            "[entries.\"user:admin*\"]\nenvironment = { LANG = \"D\" }\n"
            "[entries.\"user:admin1\"]\ndirectory = \"/\"\n");
  CHECK(sandbox.run({"get", "user:7"}).output == "I am user:7 in C, /usr\n");
  CHECK(sandbox.run({"get", "user:admin7"}).output == "I am user:admin7 in D, /usr\n");
  CHECK(sandbox.run({"get", "user:admin1"}).output == "I am user:admin1 in D, /\n");
  CHECK(sandbox.run({"get", "guest"}).status == 1);
}

TEST_CASE("get: a stale value is served at once, and nobody waits for its refresh") {
  const Configured test(kStale);
  CHECK(test.get() == "0 [one\n] []");
  const auto gate = test.sandbox().file("gate");
  test.source_does("while [ -e '" + test.log() + "' ] && [ ! -e '" + gate +
                   "' ]; do sleep 0.02; done; echo two");
  const bool in_pipe = GENERATE(true, false);
  // The shell's $(...) and the last of a pipeline end when nobody has the pipe open any more;
  // descriptor 9 is one that a script has opened for itself.
  const auto script = in_pipe ? "exec 9> '" + test.sandbox().file("nine") +
                                    "'; \"$cachectl\" get key 2>&1 | cat; echo done"
                              : "value=$(\"$cachectl\" get key 2>&1); echo $value; echo done";
  const auto outcome = run(test.sandbox().shell(script));
  CHECK(outcome.output == "one\ndone\n");
  REQUIRE(wait_until([&] { return test.starts().size() == 2; }));
  const auto refresher = test.last_refresher();
  // It has left us: another session, no terminal, nobody's child, and none of our files.
  const auto in_proc = "/proc/" + std::to_string(refresher);
  std::vector<std::string> foreign;
  for (const auto& each : std::filesystem::directory_iterator(in_proc + "/fd")) {
    const auto target = std::filesystem::read_symlink(each.path()).string();
    const bool known = target == "/dev/null" || target.starts_with(test.sandbox().root()) ||
                       target.starts_with("pipe:") || target.starts_with("anon_inode:");
    if (!known) foreign.push_back(target);
  }
  CHECK(foreign.empty());
  CHECK(::getsid(refresher) != ::getsid(0));
  write_file(gate, "");
  REQUIRE(wait_until([&] { return test.sandbox().run({"get", "key"}).output == "two\n"; }));
}

TEST_CASE("get: all who ask for a stale value get it at once, and it is refreshed once") {
  const Configured test(kStale);
  CHECK(test.get() == "0 [one\n] []");
  const auto gate = test.sandbox().file("gate");
  test.source_does("while [ -e '" + test.log() + "' ] && [ ! -e '" + gate +
                   "' ]; do sleep 0.02; done; echo two");
  // The gate opens after the last of them has been answered: none can have waited for it.
  for (const auto& outcome : test.crowd()) CHECK(Configured::text_of(outcome) == "0 [one\n] []");
  REQUIRE(wait_until([&] { return test.starts().size() >= 2; }));
  CHECK(test.starts().size() == 2);
  write_file(gate, "");
  REQUIRE(wait_until([&] { return test.sandbox().run({"get", "key"}).output == "two\n"; }));
}

TEST_CASE("get: all who ask for what cannot be made anew get the old value, with one warning") {
  const Configured test("ttl = \"1ms\"\nstale-if-error = \"1h\"\nttl-by-status = { 7 = \"1m\" }\n");
  CHECK(test.get() == "0 [one\n] []");
  test.source_does("sleep 1; echo half; echo no route >&2; exit 7");
  std::size_t leaders = 0;
  for (const auto& outcome : test.crowd()) {
    CHECK(outcome.status == 0);
    CHECK(outcome.output == "one\n");
    auto lines = lines_of(outcome.errors);
    if (!lines.empty() && lines.front() == "no route") {
      ++leaders;
      lines.erase(lines.begin());
    }
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].starts_with("cachectl: warning: the source failed with status 7"));
    CHECK(lines[0].find("serving the value of ") != std::string::npos);
  }
  CHECK(leaders == 1);
  CHECK(test.starts().size() == 2);
}

TEST_CASE("get: a refresher that is killed leaves the entry as it is, and the next asks again") {
  const Configured test(kStale);
  CHECK(test.get() == "0 [one\n] []");
  test.source_does("exec sleep 1000");
  for (std::size_t round = 0; round < 5; ++round) {
    CHECK(test.get() == "0 [one\n] []");
    REQUIRE(wait_until([&] { return test.starts().size() == round + 2; }));
    const auto refresher = test.last_refresher();
    // Nobody's child: whoever adopts orphans reaps it.
    REQUIRE(::kill(refresher, SIGKILL) == 0);
    REQUIRE(wait_until([&] { return lock::start_ticks_of(refresher) == 0; }));
    const auto source = std::stoi(test.starts().back());
    REQUIRE(wait_until([&] { return lock::start_ticks_of(source) == 0; }));
  }
  test.source_does("echo two");
  CHECK(test.get() == "0 [one\n] []");
  REQUIRE(wait_until([&] { return test.sandbox().run({"get", "key"}).output == "two\n"; }));
  // Each read of what is stale again has started a refresh, which may still be at work.
  CHECK(wait_until(
      [&] { return test.sandbox().run({"gc"}).status == 0 && test.sandbox().staged().empty(); }));
}

TEST_CASE("get: sources that misbehave") {
  const Configured test(
      "ttl = \"1ms\"\nstale-if-error = \"1h\"\nsource-timeout = \"300ms\"\nempty = \"error\"\n");
  CHECK(test.get() == "0 [one\n] []");
  std::string why;
  SECTION("hangs") {
    test.source_does("sleep 1000");
    why = "the source ran for longer than 300ms and was ended";
  }
  SECTION("floods its output") {
    test.source_does("exec yes");
    why = "the source ran for longer than 300ms and was ended";
  }
  SECTION("prints nothing") {
    test.source_does("exit 0");
    why = "the source ended with status 0 and printed nothing";
  }
  SECTION("leaves a process that holds its output") {
    test.source_does("sleep 1000 & echo two");
    why = "the source ran for longer than 300ms and was ended";
  }
  SECTION("is not executable") {
    test.source_does("echo two");
    std::filesystem::permissions(test.sandbox().file("source"), std::filesystem::perms::owner_read);
    why = test.sandbox().file("source") + ": Permission denied";
  }
  SECTION("is missing") {
    std::filesystem::remove(test.sandbox().file("source"));
    why = test.sandbox().file("source") + ": command not found";
  }
  const auto outcome = test.sandbox().run({"get", "key"});
  CHECK(outcome.status == 0);
  CHECK(outcome.output == "one\n");
  CHECK(is_one_message(outcome.errors));
  CHECK(outcome.errors.find(why + "; serving the value of ") != std::string::npos);
  CHECK(test.sandbox().staged().empty());
}

TEST_CASE("run: takes the same options, and names that do not exist are told") {
  const Sandbox sandbox;
  const auto told = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", "--key", "k"});
    return Configured::text_of(sandbox.run(std::move(arguments)));
  };
  CHECK(told({"--strategy", "long-term", "--jitter", "10%", "--", "echo", "one"}) ==
        "0 [one\n] []");
  CHECK(told({"--ttl", "0", "--stale-if-error", "1h", "--", "false"})
            .starts_with("0 [one\n] [cachectl: warning: the source failed with status 1; serving"));
  CHECK(told({"--ttl", "0", "--on-error", "fail", "--stale-if-error", "1h", "--", "false"}) ==
        "1 [] []");
  CHECK(told({"--strategy", "long-tern", "--", "true"}) ==
        "2 [] [cachectl: run: --strategy: there is no strategy 'long-tern' (did you mean "
        "'long-term'?)\n]");
  CHECK(told({"--jitter", "2", "--", "true"}) ==
        "2 [] [cachectl: run: --jitter: '2' is not a number from 0 to 1, or a percentage such as "
        "\"10%\"\n]");
  CHECK(told({"--ttl-by-status", "1=1h,300=1s", "--", "true"})
            .starts_with("2 [] [cachectl: run: --ttl"));
  CHECK(told({"--ttl", "0", "--source-timeout", "100ms", "--", "sleep", "1000"}) ==
        "124 [] [cachectl: run: the source ran for longer than 100ms and was ended\n]");
  CHECK(
      sandbox.run({"-E", "3", "run", "--source-timeout", "100ms", "--", "sleep", "1000"}).status ==
      3);
}

}  // namespace cachectl::test
