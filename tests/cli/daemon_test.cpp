// `cachectl daemon` at work: what it makes, when it says that it is ready, what it makes of
// failures and of a new configuration. How it ends: daemon_stop_test.cpp.
#include <signal.h>
#include <sys/mount.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/cli/daemons.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// How often a source has run that appends a line to this file.
std::size_t runs(const Sandbox& sandbox, const std::string& name) {
  const auto path = sandbox.file(name);
  return fs::exists(path) ? lines_of(content_of(path)).size() : 0;
}

/// A source that waits until there is such a file.
std::string waits_for(const Sandbox& sandbox, const std::string& name, const std::string& then) {
  return "while ! test -e " + sandbox.file(name) + "; do sleep 0.02; done; " + then;
}

}  // namespace

TEST_CASE("daemon: is ready at once where values are there, and makes them anew behind") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "--ttl", "1h", "old"}).status == 0);
  const Service service(sandbox,
                        warm_entry("k", waits_for(sandbox, "go", "echo new"), "ttl = '1h'"));
  CHECK(service.is_ready());
  CHECK(value_of(sandbox, "k") == "old");
  write_file(sandbox.file("go"), "");
  CHECK(becomes(sandbox, "k", "new\n"));
}

TEST_CASE("daemon: takes a stale value for one, and an expired one for none") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "--ttl", "1ms", "old"}).status == 0);
  const auto source = waits_for(sandbox, "go", "echo new");
  {
    const Service service(sandbox,
                          warm_entry("k", source, "ttl = '1ms'\nstale-while-revalidate = '1h'"));
    CHECK(service.is_ready());
  }
  const Service service(sandbox, warm_entry("k", source, "ttl = '1ms'"));
  CHECK(service.says("started"));
  CHECK_FALSE(service.is_ready(milliseconds(300)));
}

TEST_CASE("daemon: is ready only after a value that was not there has been made") {
  const Sandbox sandbox;
  const Service service(sandbox,
                        warm_entry("slow", waits_for(sandbox, "go", "echo value"), "ttl = '1h'"));
  CHECK(service.manager().hears("STATUS=1 entry, 1 to be made first"));
  CHECK_FALSE(service.is_ready(milliseconds(300)));
  write_file(sandbox.file("go"), "");
  CHECK(service.is_ready());
  CHECK(value_of(sandbox, "slow") == "value\n");
}

TEST_CASE("daemon: makes values anew before they expire, and a reader never misses") {
  const Sandbox sandbox;
  Service service(sandbox,
                  warm_entry("k", "echo >>" + sandbox.file("runs") + "; echo value", "ttl = '8s'"));
  REQUIRE(service.is_ready());
  const auto until = std::chrono::steady_clock::now() + seconds(18);
  while (std::chrono::steady_clock::now() < until) {
    REQUIRE(value_of(sandbox, "k") == "value\n");
  }
  CHECK(runs(sandbox, "runs") >= 3);
  CHECK(runs(sandbox, "runs") <= 5);
  CHECK(service.stop().errors ==
        "cachectl: daemon: started with 1 entry, 4 at a time\n"
        "cachectl: daemon: ready: 1 entry\n"
        "cachectl: daemon: stopping\n"
        "cachectl: daemon: stopped\n");
}

TEST_CASE("daemon: a source that fails is tried again, and delays no other") {
  const Sandbox sandbox;
  Service service(sandbox, warm_entry("good", "echo >>" + sandbox.file("good") + "; echo 1",
                                      "ttl = '1h'\nwarm-interval = '1s'") +
                               warm_entry("bad",
                                          "echo >>" + sandbox.file("bad") + "; test -e " +
                                              sandbox.file("mended") +
                                              " || { echo no luck >&2; exit 22; }; echo 2",
                                          "ttl = '1h'"));
  CHECK(service.is_ready());  // its first attempt has failed, and that is known
  CHECK(service.says("bad: not refreshed: the source failed with status 22: no luck; next try in"));
  CHECK(service.manager().hears("STATUS=2 entries, 1 failing: bad (status 22, 3 times)"));
  CHECK(runs(sandbox, "good") >= 2);
  CHECK(value_of(sandbox, "good") == "1\n");
  write_file(sandbox.file("mended"), "");
  CHECK(becomes(sandbox, "bad", "2\n"));
  CHECK(service.says("bad: refreshed again, after "));
  CHECK(service.manager().hears("STATUS=2 entries"));
}

TEST_CASE("daemon: says how a source failed that its status does not tell of") {
  const Sandbox sandbox;
  const Service service(sandbox,
                        warm_entry("late", "sleep 100", "ttl = '1h'\nsource-timeout = '100ms'") +
                            warm_entry("empty", "true", "ttl = '1h'\nempty = 'error'") +
                            "[entries.none]\nwarm = true\nsource = ['/nonexistent']\n");
  CHECK(service.is_ready());
  CHECK(service.says("late: not refreshed: the source ran for longer than 100ms"));
  CHECK(service.says("empty: not refreshed: the source ended with status 0 and printed nothing"));
  CHECK(service.says("none: not refreshed: /nonexistent: command not found"));
}

TEST_CASE("daemon: runs no more sources at a time than it is told") {
  const Sandbox sandbox;
  std::string entries;
  for (int each = 0; each < 6; ++each) {
    entries += warm_entry(
        "k" + std::to_string(each),
        "echo start >>" + sandbox.file("log") + "; sleep 0.3; echo end >>" + sandbox.file("log"),
        "ttl = '1h'");
  }
  const Service service(sandbox, entries, {}, {"--jobs", "2"});
  REQUIRE(service.is_ready());
  int now = 0;
  int most = 0;
  for (const auto& line : lines_of(content_of(sandbox.file("log")))) {
    now += line == "start" ? 1 : -1;
    most = std::max(most, now);
  }
  CHECK(most == 2);
}

TEST_CASE("daemon: shares the run of a script that is at it already") {
  const Sandbox sandbox;
  configure(sandbox, warm_entry("k",
                                "echo >>" + sandbox.file("runs") + "; " +
                                    waits_for(sandbox, "go", "echo value"),
                                "ttl = '1h'"));
  Running script(sandbox.cachectl({"refresh", "k"}));
  REQUIRE(wait_until([&] { return runs(sandbox, "runs") == 1; }));
  const Service service(sandbox, content_of(sandbox.file("work/cachectl.toml")));
  CHECK(service.says("started"));
  CHECK_FALSE(service.is_ready(milliseconds(300)));
  write_file(sandbox.file("go"), "");
  CHECK(service.is_ready());
  CHECK(script.wait().status == 0);
  CHECK(runs(sandbox, "runs") == 1);
}

TEST_CASE("daemon: SIGHUP under load: a bad configuration is refused, a good one counts") {
  const Sandbox sandbox;
  std::string load;
  for (int each = 0; each < 8; ++each) {
    load += warm_entry("load" + std::to_string(each), "sleep 0.1; date",
                       "ttl = '1h'\nwarm-interval = '1s'");
  }
  const auto slow = warm_entry(
      "slow", waits_for(sandbox, "go", "echo finished >>" + sandbox.file("slow") + "; echo 1"),
      "ttl = '1h'");
  REQUIRE(sandbox.run({"set", "slow", "0"}).status == 0);
  Service service(sandbox, load + slow + warm_entry("k", "echo one", "ttl = '1h'") +
                               warm_entry("gone", "echo >>" + sandbox.file("gone"),
                                          "ttl = '1h'\nwarm-interval = '1s'"));
  REQUIRE(service.is_ready());
  CHECK(value_of(sandbox, "k") == "one\n");

  service.reload_with(load + "[entries.k]\nttl = 'soon'\n");
  CHECK(service.manager().hears("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(service.is_ready());
  CHECK(service.says("not reloaded, the old configuration stays: "));
  const auto before = runs(sandbox, "gone");
  CHECK(wait_until([&] { return runs(sandbox, "gone") > before; }));

  service.reload_with(load + warm_entry("k", "echo two", "ttl = '1h'") +
                      warm_entry("added", "echo three", "ttl = '1h'"));
  CHECK(service.manager().hears("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(service.is_ready());
  CHECK(service.says("reloaded: 10 entries"));
  CHECK(becomes(sandbox, "k", "two\n"));
  CHECK(becomes(sandbox, "added", "three\n"));
  const auto then = runs(sandbox, "gone");
  std::this_thread::sleep_for(milliseconds(2500));
  CHECK(runs(sandbox, "gone") <= then + 1);  // one may have been running
  // What ran while its entry was removed has not been disturbed.
  write_file(sandbox.file("go"), "");
  CHECK(becomes(sandbox, "slow", "1\n"));
  CHECK(service.stop().status == 0);
}

TEST_CASE("daemon: a configuration with another root is refused while it runs") {
  const Sandbox sandbox;
  auto program = Service(sandbox, "root = '" + sandbox.file("a") + "'\n", {"CACHECTL_ROOT"});
  REQUIRE(program.is_ready());
  program.reload_with("root = '" + sandbox.file("b") + "'\n");
  CHECK(program.says("not reloaded, the old configuration stays: the root is "));
  CHECK_FALSE(fs::exists(sandbox.file("b")));
}

TEST_CASE("daemon: a wrong configuration at the start is an error, and so are no jobs") {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k]\nwarm = true\n");
  const auto wrong = sandbox.run({"daemon"});
  CHECK(wrong.status == 2);
  CHECK(is_one_message(wrong.errors));
  configure(sandbox, "");
  const auto none = sandbox.run({"daemon", "--jobs", "0"});
  CHECK(none.status == 2);
  CHECK(is_one_message(none.errors));
}

TEST_CASE("daemon: is refused inside a lock of the cache, for which it would wait") {
  const Sandbox sandbox;
  const auto inside = sandbox.run({"lock", "--", binary(), "daemon"});
  CHECK(inside.status == 2);
  CHECK(is_one_message(inside.errors));
}

TEST_CASE("daemon: makes the root, and makes it again when somebody has removed it") {
  const Sandbox sandbox;
  Service service(sandbox, warm_entry("k", "echo v", "ttl = '1h'\nwarm-interval = '1s'"));
  REQUIRE(service.is_ready());
  fs::rename(sandbox.root(), sandbox.file("away"));
  CHECK(becomes(sandbox, "k", "v\n"));
  // And it is still the only one.
  const auto second = sandbox.run({"daemon"});
  CHECK(second.status == 125);
  CHECK(second.errors.find("pid " + std::to_string(service.process().pid())) != std::string::npos);
}

TEST_CASE("daemon: a second one on the same root is refused with the name of the first") {
  const Sandbox sandbox;
  Service service(sandbox, "");
  REQUIRE(service.is_ready());
  const auto second = sandbox.run({"daemon"});
  CHECK(second.status == 125);
  CHECK(is_one_message(second.errors));
  const auto expected = "cachectl: daemon: another daemon has " + sandbox.root() + ": pid " +
                        std::to_string(service.process().pid()) + ", since 2";
  CHECK(second.errors.starts_with(expected));
  CHECK(service.stop().status == 0);
  const Service next(sandbox, "");
  CHECK(next.is_ready());
}

TEST_CASE("daemon: works beside `cachectl lock`, which has all of cache.lock") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "old"}).status == 0);
  Running lock(sandbox.cachectl(
      {"lock", "--", "sh", "-c",
       "echo >" + sandbox.file("locked") + "; " + waits_for(sandbox, "go", "true")}));
  REQUIRE(wait_until([&] { return fs::exists(sandbox.file("locked")); }));
  const Service service(sandbox, warm_entry("k", "echo new", "ttl = '1h'"));
  CHECK(service.is_ready());
  CHECK(value_of(sandbox, "k") == "old");
  write_file(sandbox.file("go"), "");
  CHECK(becomes(sandbox, "k", "new\n"));
}

TEST_CASE("daemon: removes what gc removes, when it is ready and then at its interval") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "old", "--ttl", "1ms", "x"}).status == 0);
  REQUIRE(sandbox.run({"set", "kept", "--ttl", "1h", "x"}).status == 0);
  const auto is_listed = [&](const std::string& key) {
    return !sandbox.run({"ls", key}).output.empty();
  };
  {
    const Service never(sandbox, "[daemon]\ngc-interval = 'never'\n");
    REQUIRE(never.is_ready());
    std::this_thread::sleep_for(milliseconds(500));
    CHECK(is_listed("old"));
  }
  const Service service(sandbox, "[daemon]\ngc-interval = '200ms'\n");
  REQUIRE(service.is_ready());
  CHECK(wait_until([&] { return !is_listed("old"); }));
  REQUIRE(sandbox.run({"set", "old", "--ttl", "1ms", "x"}).status == 0);
  CHECK(wait_until([&] { return !is_listed("old"); }));
  CHECK(is_listed("kept"));
}

TEST_CASE("daemon: gives signs of life to the watchdog that asks for them, and to no other") {
  const Sandbox sandbox;
  {
    const Service service(sandbox, warm_entry("k", "sleep 100", "ttl = '1h'"),
                          {"WATCHDOG_USEC=200000"});
    for (int each = 0; each < 5; ++each) {
      CHECK(service.manager().hears("WATCHDOG=1", each == 0 ? kPatience : milliseconds(5000)));
    }
  }
  const Service service(sandbox, "", {"WATCHDOG_USEC=200000", "WATCHDOG_PID=1"});
  REQUIRE(service.is_ready());
  CHECK_FALSE(service.manager().hears("WATCHDOG=1", milliseconds(500)));
}

TEST_CASE("daemon: workers and sources have nothing of it: no descriptor, no manager to speak to") {
  const Sandbox sandbox;
  Service service(sandbox,
                  warm_entry("k",
                             "ls -l /proc/self/fd >" + sandbox.file("fds") + "; env >" +
                                 sandbox.file("env") + "; " + waits_for(sandbox, "go", "echo v"),
                             "ttl = '1h'"),
                  {"WATCHDOG_USEC=60000000"});
  REQUIRE(wait_until([&] { return runs(sandbox, "env") > 0; }));
  const auto workers = children_of(service.process().pid(), Which::all);
  REQUIRE(workers.size() == 1);
  std::string open = content_of(sandbox.file("fds"));
  for (const auto& item : fs::directory_iterator("/proc/" + std::to_string(workers[0]) + "/fd")) {
    open += fs::read_symlink(item.path()).string() + '\n';
  }
  INFO(open);
  CHECK(open.find("cache.lock") != std::string::npos);  // its own
  CHECK(open.find("daemon.lock") == std::string::npos);
  CHECK(open.find("socket:") == std::string::npos);
  const auto variables = content_of(sandbox.file("env"));
  CHECK(variables.find("NOTIFY_SOCKET") == std::string::npos);
  CHECK(variables.find("WATCHDOG") == std::string::npos);
  write_file(sandbox.file("go"), "");
  CHECK(service.is_ready());
}

TEST_CASE("daemon: a full disk is reported and tried again, until there is room") {
  const Sandbox sandbox;
  fs::create_directory(sandbox.root());
  if (::mount("cachectl-test", sandbox.root().c_str(), "tmpfs", 0, "mode=700,size=1m") != 0) {
    WARN("SKIPPED: only root can mount a file system");
    return;
  }
  {
    Service service(sandbox, warm_entry("k", "head -c 300000 /dev/zero", "ttl = '1h'") +
                                 "warm-interval = '1s'\n");
    CHECK(service.is_ready());
    const auto fill = "head -c 900000 /dev/zero >" + sandbox.root() + "/fill 2>/dev/null; true";
    REQUIRE(run(sandbox.shell(fill)).status == 0);
    CHECK(service.says("k: not refreshed: the value was not stored: "));
    CHECK(service.manager().hears("STATUS=1 entry, 1 failing: k (status 125"));
    CHECK(value_of(sandbox, "k").size() == 300000);  // the old one
    fs::remove(sandbox.root() + "/fill");
    CHECK(service.says("k: refreshed again, after "));
    CHECK(service.stop().status == 0);
  }
  ::umount2(sandbox.root().c_str(), MNT_DETACH);
}

}  // namespace cachectl::test
