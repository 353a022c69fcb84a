// Bad input: one clear line on standard error, the exit status of the table, nothing lost.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

/// What failed said it in one line, with `word` in it, and left nothing on stdout.
void check_refused(const Outcome& outcome, int status, const std::string& word) {
  INFO(outcome.errors);
  CHECK(outcome.status == status);
  CHECK(outcome.output.empty());
  CHECK(is_one_message(outcome.errors));
  CHECK(outcome.errors.find(word) != std::string::npos);
}

}  // namespace

TEST_CASE("usage: an unknown option is refused with the nearest name") {
  const Sandbox sandbox;
  check_refused(sandbox.run({"get", "--jsn", "k"}), 2, "'--json'");
  check_refused(sandbox.run({"run", "--tll", "1h", "--", "true"}), 2, "'--ttl'");
  check_refused(sandbox.run({"lock", "--shard", "true"}), 2, "'--shared'");
  check_refused(sandbox.run({"--rot", "/x", "get", "k"}), 2, "'--root'");
  check_refused(sandbox.run({"get", "-Z", "k"}), 2, "-Z");
  // Also where it leaves a word missing.
  check_refused(sandbox.run({"get", "--jsn"}), 2, "'--json'");
  check_refused(sandbox.run({"config", "--orign"}), 2, "'--origin'");
}

TEST_CASE("usage: an unknown command is refused with the nearest name") {
  const Sandbox sandbox;
  check_refused(sandbox.run({"gte", "k"}), 2, "'get'");
  check_refused(sandbox.run({"config", "shwo"}), 2, "'show'");
  check_refused(sandbox.run({}), 2, "--help");
}

TEST_CASE("usage: a missing argument is refused by every command that needs one") {
  const Sandbox sandbox;
  check_refused(sandbox.run({"get"}), 2, "KEY");
  check_refused(sandbox.run({"set"}), 2, "KEY");
  check_refused(sandbox.run({"show"}), 2, "KEY");
  check_refused(sandbox.run({"release"}), 2, "ID");
  check_refused(sandbox.run({"lease", "show"}), 2, "ID");
  check_refused(sandbox.run({"lease", "renew"}), 2, "ID");
  for (const char* name : {"A=1", ""}) {
    check_refused(sandbox.run({"run", "--env", name, "--", "true"}), 2, "--env NAME");
  }
  check_refused(sandbox.run({"delete"}), 2, "nothing to delete");
  check_refused(sandbox.run({"run"}), 2, "no command");
  check_refused(sandbox.run({"run", "--ttl", "1h", "--"}), 2, "no command");
  check_refused(sandbox.run({"lock"}), 2, "no command");
  check_refused(sandbox.run({"delete", "a", "--all"}), 2, "too much");
  check_refused(sandbox.run({"set", "k", "v", "--file", "f"}), 2, "more than one");
}

TEST_CASE("usage: a bad duration, size or choice is refused and says what to write") {
  const Sandbox sandbox;
  for (const char* bad : {"30", "1x", "", "-5s", "h", "1h1h", "99999999999999999999d"}) {
    INFO(bad);
    check_refused(sandbox.run({"set", "k", "v", "--ttl", bad}), 2, "--ttl");
    check_refused(sandbox.run({"run", std::string("--ttl=") + bad, "--", "true"}), 2, "--ttl");
  }
  check_refused(sandbox.run({"gc", "--max-size", "ten"}), 2, "--max-size");
  check_refused(sandbox.run({"set", "k", "v", "--durability", "ful"}), 2, "full");
  check_refused(sandbox.run({"run", "--no-store-on", "1,x", "--", "true"}), 2, "'x'");
  check_refused(sandbox.run({"run", "--no-store-on", "1,,2", "--", "true"}), 2, "exit status");
  check_refused(sandbox.run({"run", "--no-store-on", "256", "--", "true"}), 2, "'256'");
  check_refused(sandbox.run({"-E", "300", "get", "k"}), 2, "300");
  CHECK_FALSE(std::filesystem::exists(sandbox.root()));
}

TEST_CASE("usage: a key is any byte string of 1 to 4096 bytes, printed escaped") {
  const Sandbox sandbox;
  check_refused(sandbox.run({"set", "", "v"}), 2, "empty");
  check_refused(sandbox.run({"get", std::string(5 * 1024, 'k')}), 2, "5120");
  check_refused(sandbox.run({"lock", "--key", "", "--", "true"}), 2, "empty");

  const std::vector<std::string> keys{"../../etc/passwd", "line\nbreak", "\xff\xfe",
                                      "\x1b[31mred",      "-dash",       std::string(4096, 'k')};
  for (const auto& key : keys) {
    CHECK(sandbox.run({"set", "--", key, "value of it"}).status == 0);
    CHECK(sandbox.run({"get", "--", key}).output == "value of it");
    const auto shown = sandbox.run({"show", "--", key});
    CHECK(shown.status == 0);
    CHECK(shown.output.find('\x1b') == std::string::npos);
  }
  const auto listed = sandbox.run({"ls"});
  CHECK(lines_of(listed.output).size() == keys.size());
  CHECK(listed.output.find("line\\nbreak") != std::string::npos);
  CHECK(listed.output.find("\\xff\\xfe") != std::string::npos);
  CHECK(listed.output.find('\x1b') == std::string::npos);
  CHECK(sandbox.run({"ls", "--json"}).output.find("key_base64") != std::string::npos);
}

TEST_CASE("usage: a directory is no value") {
  const Sandbox sandbox;
  check_refused(sandbox.run({"set", "k", "--file", sandbox.file("")}), 2, "is a directory");
  auto program = sandbox.cachectl({"set", "k"});
  const lock::Fd directory(::open(sandbox.file("").c_str(), O_RDONLY | O_CLOEXEC));
  program.input_from = directory.get();
  check_refused(run(program), 2, "is a directory");
  check_refused(sandbox.run({"set", "k", "--file", sandbox.file("none")}), 125, "No such file");
}

TEST_CASE("usage: a configuration error names file, line and the nearest key") {
  const Sandbox sandbox;
  std::ofstream(sandbox.file("c.toml")) << "shared = false\n[run]\ntll = \"1h\"\n";
  const auto outcome = sandbox.run({"--config", sandbox.file("c.toml"), "get", "k"});
  check_refused(outcome, 2, "c.toml:3");
  CHECK(outcome.errors.find("run.ttl") != std::string::npos);
  check_refused(sandbox.run({"--config", sandbox.file("none.toml"), "get", "k"}), 2, "none.toml");
  auto program = sandbox.cachectl({"get", "k"});
  program.environment.emplace_back("CACHECTL_DURABILITY=maybe");
  check_refused(run(program), 2, "CACHECTL_DURABILITY");
}

TEST_CASE("usage: a root that is not safe is refused and left as it is") {
  const Sandbox sandbox;
  const auto with_root = [&](const std::string& root, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--root", root});
    return sandbox.run(std::move(arguments));
  };
  const auto open_to_all = sandbox.file("open");
  std::filesystem::create_directory(open_to_all);
  ::chmod(open_to_all.c_str(), 0777);
  check_refused(with_root(open_to_all, {"set", "k", "v"}), 125, "everybody may write");

  const auto target = sandbox.file("target");
  std::filesystem::create_directory(target);
  std::filesystem::create_directory_symlink(target, sandbox.file("link"));
  check_refused(with_root(sandbox.file("link"), {"set", "k", "v"}), 125, "symbolic link");
  CHECK(std::filesystem::is_empty(target));

  const auto foreign = sandbox.file("foreign");
  std::filesystem::create_directory(foreign);
  std::ofstream(foreign + "/thesis.txt") << "mine";
  check_refused(with_root(foreign, {"set", "k", "v"}), 125, "not a cache");
  check_refused(with_root(foreign, {"gc"}), 125, "not a cache");

  const auto file = sandbox.file("file");
  std::ofstream(file) << "x";
  check_refused(with_root(file, {"get", "k"}), 125, "Not a directory");
  check_refused(with_root("/dev/null/cache", {"get", "k"}), 125, "Not a directory");
}

TEST_CASE("usage: reading makes no cache") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"get", "k"}).status == 1);
  CHECK(sandbox.run({"show", "k"}).status == 1);
  CHECK(sandbox.run({"ls"}).status == 0);
  CHECK(sandbox.run({"delete", "k"}).status == 1);
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK_FALSE(std::filesystem::exists(sandbox.root()));
}

TEST_CASE("usage: every command explains itself on standard output") {
  const Sandbox sandbox;
  for (const char* command :
       {"run", "get", "set", "delete", "ls", "show", "path", "refresh", "warm", "pool", "verify",
        "lock", "acquire", "release", "lease", "gc", "config", "version", "help"}) {
    const auto outcome = sandbox.run({command, "--help"});
    INFO(command);
    CHECK(outcome.status == 0);
    CHECK(outcome.errors.empty());
    CHECK(outcome.output.find("cachectl " + std::string(command)) != std::string::npos);
    CHECK(sandbox.run({"help", command}).output == outcome.output);
    CHECK(sandbox.run({"--help", command}).output == outcome.output);
    for (const auto& line : lines_of(outcome.output)) CHECK(line.size() <= 100);
  }
  CHECK(sandbox.run({"--help"}).output.find("Commands:") != std::string::npos);
  CHECK(sandbox.run({"--version"}).output == sandbox.run({"version"}).output);
}

TEST_CASE("usage: --all asks on a terminal and wants --yes elsewhere") {
  const Sandbox sandbox;
  CHECK(sandbox.run({"set", "k", "v"}).status == 0);
  check_refused(sandbox.run({"delete", "--all"}), 2, "--yes");
  CHECK(sandbox.run({"get", "k"}).output == "v");
  CHECK(sandbox.run({"delete", "--all", "--yes"}).status == 0);
  CHECK(sandbox.run({"get", "k"}).status == 1);
}

}  // namespace cachectl::test
