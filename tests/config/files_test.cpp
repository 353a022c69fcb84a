#include "src/config/files.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "tests/config/sandbox.hpp"

namespace cachectl::config {

namespace {

constexpr uid_t nobody = 65534;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool may_change_owner() {
  if (::geteuid() == 0) return true;
  WARN("SKIPPED: only root can give a file to another user");
  return false;
}

}  // namespace

TEST_CASE("files: ./cachectl.toml of another user is refused, and used when it is named") {
  if (!may_change_owner()) return;
  const Sandbox sandbox;
  sandbox.write("cachectl.toml", "run.ttl = \"5m\"\n");
  REQUIRE(::chown("cachectl.toml", nobody, nobody) == 0);
  const auto refused = sandbox.load();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::config);
  CHECK(contains(refused.error().message, "cachectl.toml: not used: it belongs to another user"));
  CHECK(contains(refused.error().advice, "--config ./cachectl.toml"));

  Flags flags;
  flags.config_file = "./cachectl.toml";
  CHECK(sandbox.load(flags).value().run_ttl == std::chrono::minutes(5));
  flags.config_file = "/dev/null";
  CHECK(sandbox.load(flags).value().run_ttl == std::chrono::seconds(60));
}

TEST_CASE("files: another user's link to one's own file is refused as ./cachectl.toml") {
  if (!may_change_owner()) return;
  const Sandbox sandbox;
  sandbox.write("mine.toml", "run.ttl = \"5m\"\n");
  REQUIRE(::symlink("mine.toml", "cachectl.toml") == 0);
  CHECK(sandbox.load().value().run_ttl == std::chrono::minutes(5));
  REQUIRE(::lchown("cachectl.toml", nobody, nobody) == 0);
  CHECK(contains(sandbox.complaint(), "belongs to another user"));
}

TEST_CASE("files: one's own link to another user's file is refused as ./cachectl.toml") {
  if (!may_change_owner()) return;
  const Sandbox sandbox;
  sandbox.write("theirs.toml", "run.ttl = \"5m\"\n");
  REQUIRE(::chown("theirs.toml", nobody, nobody) == 0);
  REQUIRE(::symlink("theirs.toml", "cachectl.toml") == 0);
  CHECK(contains(sandbox.complaint(), "belongs to another user"));
}

TEST_CASE("files: root's ./cachectl.toml is used by everybody") {
  if (!may_change_owner()) return;
  const Sandbox sandbox;
  sandbox.write("cachectl.toml", "run.ttl = \"5m\"\n");
  REQUIRE(::chmod(sandbox.path().c_str(), 0755) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(nobody, nobody, nobody) != 0) ::_exit(2);
    const auto settings = sandbox.load();
    ::_exit(settings && settings->run_ttl == std::chrono::minutes(5) ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("files: a working directory that may not be searched holds no configuration") {
  if (!may_change_owner()) return;
  const Sandbox sandbox;
  sandbox.write("cachectl.toml", "run.ttl = \"5m\"\n");
  REQUIRE(::chmod(sandbox.path().c_str(), 0700) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(nobody, nobody, nobody) != 0) ::_exit(2);
    const auto settings = sandbox.load();
    ::_exit(settings && settings->files.empty() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("files: a ./cachectl.toml that everybody can write is refused") {
  const Sandbox sandbox;
  sandbox.write("cachectl.toml", "");
  REQUIRE(::chmod("cachectl.toml", 0646) == 0);
  CHECK(contains(sandbox.complaint(), "everybody can write it"));
}

TEST_CASE("files: a FIFO or a directory called cachectl.toml is refused at once") {
  const Sandbox sandbox;
  REQUIRE(::mkfifo("cachectl.toml", 0600) == 0);
  CHECK(contains(sandbox.complaint(), "not a regular file"));
  REQUIRE(::unlink("cachectl.toml") == 0);
  REQUIRE(::mkdir("cachectl.toml", 0700) == 0);
  CHECK(contains(sandbox.complaint(), "not a regular file"));
}

TEST_CASE("files: a named file that is missing is an error, also when the environment names it") {
  Sandbox sandbox;
  Flags flags;
  flags.config_file = "gone.toml";
  const auto refused = sandbox.load(flags);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::config);
  CHECK(refused.error().message == "configuration file gone.toml: No such file or directory");
  sandbox.set("CACHECTL_CONFIG", "lost.toml");
  CHECK(contains(sandbox.complaint(), "lost.toml: No such file"));
  flags.config_file = "";
  CHECK(contains(sandbox.complaint(flags), "No such file"));
}

TEST_CASE("files: what is no configuration file is refused in one line") {
  const Sandbox sandbox;
  const auto complaint = [&](const std::string& path) {
    Flags flags;
    flags.config_file = path;
    return sandbox.complaint(flags);
  };
  CHECK(contains(complaint("/"), "Is a directory"));
  CHECK(contains(complaint("/dev/zero"), "larger than 64 KiB"));
  sandbox.write("full.toml", std::string(std::size_t{64} * 1024, '\n'));
  CHECK(complaint("full.toml") == "no error");
  sandbox.write("over.toml", std::string(std::size_t{64} * 1024 + 1, '\n'));
  CHECK(contains(complaint("over.toml"), "larger than 64 KiB"));
}

TEST_CASE("files: the search path has the named file or the well-known places, the system last") {
  Sandbox sandbox;
  using Paths = std::vector<std::string>;
  CHECK(search_path({}, sandbox.environment()) ==
        Paths{"cachectl.toml", sandbox.home_file(), system_file});
  sandbox.set("XDG_CONFIG_HOME", "/x");
  CHECK(home_file(sandbox.environment()) == "/x/cachectl/cachectl.toml");
  sandbox.set("CACHECTL_CONFIG", "/e.toml");
  CHECK(search_path({}, sandbox.environment()) == Paths{"/e.toml", system_file});
  CHECK(search_path("/f.toml", sandbox.environment()) == Paths{"/f.toml", system_file});
}

}  // namespace cachectl::config
