// `cachectl doctor` on real trouble: file systems, modes, configurations, dead processes.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "src/cache.hpp"
#include "tests/cli/leases.hpp"
#include "tests/support/denied_call.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

/// What was found of one thing; the worst, where there are several.
struct Finding {
  std::string level = "(none)";
  std::string what;
  std::string advice;
};

struct Diagnosis {
  int status = -1;
  nlohmann::json report;

  [[nodiscard]] Finding of(const std::string& check, const std::string& word = "") const {
    Finding worst;
    const auto rank = [](const std::string& level) {
      return level == "failure" ? 3 : level == "warning" ? 2 : level == "ok" ? 1 : 0;
    };
    for (const auto& each : report["checks"]) {
      const auto what = each["what"].get<std::string>();
      if (each["check"] != check || what.find(word) == std::string::npos) continue;
      if (rank(each["level"]) > rank(worst.level)) {
        worst = {each["level"], what, each["advice"]};
      }
    }
    return worst;
  }
};

Diagnosis diagnose(const Program& program) {
  const auto outcome = run(program);
  INFO(outcome.errors);
  Diagnosis found;
  found.status = outcome.status;
  REQUIRE_FALSE(outcome.output.empty());
  found.report = nlohmann::json::parse(outcome.output);
  UNSCOPED_INFO(found.report.dump(2));
  CHECK(found.report["version"] == 1);
  CHECK(found.report["fit"] == (found.status == 0));
  return found;
}

Diagnosis diagnose(const Sandbox& sandbox, std::vector<std::string> arguments = {}) {
  arguments.insert(arguments.begin(), {"doctor", "--json"});
  return diagnose(sandbox.cachectl(std::move(arguments)));
}

void chmod_to(const std::string& path, mode_t mode) { REQUIRE(::chmod(path.c_str(), mode) == 0); }

/// A file system of its own at a directory, gone with the object.
class Mounted {
 public:
  Mounted(std::string path, const std::string& options, const char* type = "tmpfs")
      : path_(std::move(path)) {
    fs::create_directories(path_);
    works_ = ::mount("cachectl-test", path_.c_str(), type, 0, options.c_str()) == 0;
  }
  ~Mounted() {
    if (works_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  [[nodiscard]] bool works() const {
    if (!works_) WARN("SKIPPED: only root can mount a file system");
    return works_;
  }
  void make_read_only() const {
    REQUIRE(::mount("cachectl-test", path_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  }

 private:
  std::string path_;
  bool works_ = false;
};

/// What it finds on a system where a call fails with `error`, or for 0 does nothing.
Diagnosis diagnose_without(const Sandbox& sandbox, long call, int error) {
  const auto program = sandbox.cachectl({"doctor", "--json"});
  const auto output = sandbox.file("diagnosis");
  Forked doctor([&](const Link&) {
    if (!deny_system_call(call, error)) return 98;
    for (const auto& variable : program.environment) {
      const auto cut = variable.find('=');
      if (cut != std::string::npos) {
        ::setenv(variable.substr(0, cut).c_str(), variable.c_str() + cut + 1, 1);
      }
    }
    const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ::dup2(file, STDOUT_FILENO) < 0) return 97;
    if (::chdir(program.directory.c_str()) != 0) return 96;
    ::execl(binary(), "cachectl", "doctor", "--json", nullptr);
    return 95;
  });
  Diagnosis found;
  found.status = doctor.wait();
  if (found.status >= 95 && found.status <= 98) return found;
  found.report = nlohmann::json::parse(content_of(output));
  UNSCOPED_INFO(found.report.dump(2));
  return found;
}

}  // namespace

TEST_CASE("doctor: a healthy cache is fit, and nothing in it is changed") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("work")}).status == 0);
  const auto listing = [&] {
    // Of directories not the time of the last look, which find(1) changes itself.
    return run(
        sandbox.shell("find \"$CACHECTL_ROOT\" -type d -printf '%p %m %T@\\n' -o "
                      "-printf '%p %m %s %T@ %A@\\n' | sort"));
  };
  REQUIRE(diagnose(sandbox).status == 0);
  const auto before = listing();
  const auto found = diagnose(sandbox);
  CHECK(found.status == 0);
  // But for the times of tmp/, in which the scratch files were.
  const auto without_staging = [](const Outcome& outcome) {
    std::vector<std::string> lines;
    for (const auto& line : lines_of(outcome.output)) {
      if (line.find("/tmp ") == std::string::npos) lines.push_back(line);
    }
    return lines;
  };
  CHECK(without_staging(listing()) == without_staging(before));
  CHECK(sandbox.staged().empty());
  for (const char* check : {"configuration", "root", "layout", "space", "locks", "publishing",
                            "lock file", "clock", "leases", "staging", "records"}) {
    INFO(check);
    CHECK(found.of(check).level == "ok");
  }
  CHECK(found.of("records").what == "2 records read, none damaged");
  CHECK(found.of("publishing").what.find(" ms for a file") != std::string::npos);
}

TEST_CASE("doctor: without --json a line for each, and what to do below it") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  CHECK(sandbox.run({"doctor"}).status == 0);
  chmod_to(sandbox.root() + "/attempts", 0777);
  const auto outcome = sandbox.run({"doctor"});
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.output, Catch::Contains("failure  layout         " + sandbox.root() +
                                             "/attempts: everybody may write to it\n") &&
                                 Catch::Contains("-> chmod 700 " + sandbox.root() + "/attempts\n"));
  CHECK(outcome.errors.empty());
}

TEST_CASE("doctor: where there is no cache yet, looks at what it would be made in") {
  const Sandbox sandbox;
  const auto found = diagnose(sandbox);
  CHECK(found.status == 0);
  CHECK_THAT(found.of("root").what, Catch::Contains("is not there yet"));
  CHECK(found.of("space").level == "ok");
  CHECK_FALSE(fs::exists(sandbox.root()));
  const auto lost = diagnose(sandbox, {"--root", sandbox.file("") + "no/such/place"});
  CHECK(lost.status == 0);
  CHECK_FALSE(fs::exists(sandbox.file("no")));
  const auto forbidden = diagnose(sandbox, {"--root", "/proc/none"});
  CHECK(forbidden.status == 1);
}

TEST_CASE("doctor: names what is wrong with each configuration file") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  configure(sandbox, "[run]\nttl = 5\n");
  const auto found = diagnose(sandbox);
  CHECK(found.status == 1);
  CHECK(found.of("configuration").level == "failure");
  CHECK_THAT(found.of("configuration", "cachectl.toml:2").what, Catch::Contains("run.ttl"));
  // The variable names the root, so the rest is looked at all the same.
  CHECK(found.of("records").level == "ok");

  auto rootless = sandbox.cachectl({"doctor", "--json"});
  std::erase_if(rootless.environment,
                [](const auto& each) { return each.starts_with("CACHECTL_ROOT="); });
  const auto lost = diagnose(rootless);
  CHECK(lost.status == 1);
  CHECK_THAT(lost.of("configuration", "not known").advice, Catch::Contains("--root"));
  CHECK(lost.of("records").level == "(none)");

  configure(sandbox, "");
  auto wrong_variable = sandbox.cachectl({"doctor", "--json"});
  wrong_variable.environment.emplace_back("CACHECTL_DURABILITY=maybe");
  CHECK(diagnose(wrong_variable).of("configuration", "CACHECTL_DURABILITY").level == "failure");
}

TEST_CASE("doctor: says why a root is refused") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  chmod_to(sandbox.root(), 0777);
  const auto open = diagnose(sandbox);
  CHECK(open.status == 1);
  CHECK_THAT(open.of("root").what, Catch::Contains("everybody may write"));
  CHECK_THAT(open.of("root").advice, Catch::Contains("chmod"));
  chmod_to(sandbox.root(), 0700);
  fs::create_symlink(sandbox.root(), sandbox.file("link"));
  CHECK(diagnose(sandbox, {"--root", sandbox.file("link")}).of("root").level == "failure");
  write_file(sandbox.root() + "/format", "cachectl 99\n");
  CHECK_THAT(diagnose(sandbox).of("root").what, Catch::Contains("cachectl 99"));
}

TEST_CASE("doctor: warns of directories above the root that others may write to") {
  const Sandbox sandbox;
  fs::create_directories(sandbox.file("open/inner"));
  const auto root = sandbox.file("open/inner") + "/cache";
  REQUIRE(sandbox.run({"--root", root, "set", "k", "v"}).status == 0);
  CHECK(diagnose(sandbox, {"--root", root}).of("above the root").level == "ok");
  chmod_to(sandbox.file("open"), 0777);
  const auto found = diagnose(sandbox, {"--root", root});
  CHECK(found.status == 0);
  CHECK(found.of("above the root").level == "warning");
  CHECK_THAT(found.of("above the root").what,
             Catch::Contains(sandbox.file("open") + ": everybody"));
  chmod_to(sandbox.file("open"), 01777);  // as /tmp has it
  CHECK(diagnose(sandbox, {"--root", root}).of("above the root").level == "ok");
}

TEST_CASE("doctor: tells wrong modes of what is in the root") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  chmod_to(sandbox.root() + "/entries", 0770);
  chmod_to(sandbox.root() + "/attempts", 0755);
  chmod_to(sandbox.root() + "/cache.lock", 0666);
  const auto found = diagnose(sandbox);
  CHECK(found.status == 1);
  CHECK(found.of("layout", "/entries: its group may write").level == "failure");
  CHECK(found.of("layout", "/attempts: has mode 0755, not 0700").level == "warning");
  CHECK(found.of("lock file").level == "failure");
}

TEST_CASE("doctor: finds a lock file that was replaced while somebody held it") {
  const Sandbox sandbox;
  Running holder(sandbox.cachectl({"lock", "--", "sh", "-c", "echo held; exec sleep 60"}));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  CHECK(diagnose(sandbox).of("lock file").level == "ok");
  fs::remove(sandbox.root() + "/cache.lock");
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto found = diagnose(sandbox);
  CHECK(found.status == 1);
  CHECK_THAT(found.of("lock file").what,
             Catch::Contains("removed or replaced while pid " + std::to_string(holder.pid())));
}

TEST_CASE("doctor: warns of a file system in memory, and fails on one that is full") {
  const Sandbox sandbox;
  const Mounted mounted(sandbox.root(), "mode=700,size=16m");
  if (!mounted.works()) return;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto found = diagnose(sandbox);
  CHECK(found.status == 0);
  CHECK(found.of("file system").level == "warning");
  CHECK_THAT(found.of("file system").what, Catch::Contains("tmpfs at " + sandbox.root()));
  CHECK(found.of("publishing").level == "ok");
  run(sandbox.shell("cat /dev/zero >\"$CACHECTL_ROOT/filler\""));
  const auto full = diagnose(sandbox);
  CHECK(full.status == 1);
  CHECK(full.of("space").level == "failure");
  CHECK_THAT(full.of("publishing").what, Catch::Contains("No space left"));
  CHECK(sandbox.staged().empty());
}

TEST_CASE("doctor: warns of an overlay, whose locks other containers do not share") {
  const Sandbox sandbox;
  for (const char* name : {"lower", "upper", "inner"}) {
    fs::create_directory(sandbox.file(name));
  }
  chmod_to(sandbox.file("upper"), 0700);
  const Mounted mounted(sandbox.root(),
                        "lowerdir=" + sandbox.file("lower") + ",upperdir=" + sandbox.file("upper") +
                            ",workdir=" + sandbox.file("inner"),
                        "overlay");
  if (!mounted.works()) return;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto found = diagnose(sandbox);
  CHECK(found.status == 0);
  CHECK(found.of("file system").level == "warning");
  CHECK_THAT(found.of("file system").what, Catch::Contains("do not share its locks"));
}

TEST_CASE("doctor: fails where no inode is left") {
  const Sandbox sandbox;
  const Mounted mounted(sandbox.root(), "mode=700,size=2m,nr_inodes=40");
  if (!mounted.works()) return;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  CHECK(diagnose(sandbox).of("space", "inodes").level == "warning");
  run(sandbox.shell("for n in $(seq 40); do : >\"$CACHECTL_ROOT/filler$n\"; done 2>/dev/null"));
  CHECK(diagnose(sandbox).of("space", "inodes").level == "failure");
}

TEST_CASE("doctor: fails on a file system that is mounted read-only") {
  const Sandbox sandbox;
  const Mounted mounted(sandbox.root(), "mode=700,size=2m");
  if (!mounted.works()) return;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  mounted.make_read_only();
  const auto found = diagnose(sandbox);
  CHECK(found.status == 1);
  CHECK_THAT(found.of("file system", "read-only").what, Catch::Contains("none can be stored"));
  CHECK(found.of("locks").level == "failure");
  CHECK(found.of("records").what == "1 record read, none damaged");
}

TEST_CASE("doctor: finds locks that exclude nobody, and a disk that does not sync") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto lockless = diagnose_without(sandbox, SYS_fcntl, 0);
  if (lockless.status == 98) {
    WARN("SKIPPED: no seccomp");
    return;
  }
  CHECK(lockless.status == 1);
  CHECK(lockless.of("locks").level == "failure");
  CHECK_THAT(lockless.of("locks").what, Catch::Contains("two processes hold one lock"));
  const auto syncless = diagnose_without(sandbox, SYS_fsync, EIO);
  CHECK(syncless.status == 1);
  CHECK(syncless.of("locks").level == "ok");
  CHECK_THAT(syncless.of("publishing").what, Catch::Contains("Input/output error"));
  CHECK(sandbox.staged().empty());
}

TEST_CASE("doctor: tells a lease whose holder was killed from one that lives or has ended") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  const auto expired = acquire(sandbox, {"--lease", "50ms", "other"});
  REQUIRE(wait_until([&] { return !shown(sandbox, expired)["alive"].get<bool>(); }));
  CHECK(diagnose(sandbox).of("leases").what == "1 held, 1 ended, which gc removes");
  REQUIRE(::kill(holder_of_lease(sandbox, id), SIGKILL) == 0);
  REQUIRE(wait_until([&] { return !shown(sandbox, id)["alive"].get<bool>(); }));
  const auto found = diagnose(sandbox);
  CHECK(found.status == 0);
  CHECK(found.of("leases").level == "warning");
  CHECK_THAT(found.of("leases").what,
             Catch::Contains("its holder was killed, so key k is not held") &&
                 Catch::Contains("lives and does not know"));
}

TEST_CASE("doctor: finds what a killed process left in tmp/, and leaves the living alone") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  Running writer(sandbox.shell("(echo part; exec sleep 60) | \"$cachectl\" set k & echo $!; wait"));
  REQUIRE(wait_until([&] { return sandbox.staged().size() == 1; }));
  CHECK(diagnose(sandbox).of("staging").what == "1 at work");
  const auto pid = std::stoi(writer.output());
  REQUIRE(::kill(pid, SIGKILL) == 0);
  REQUIRE(wait_until([&] { return diagnose(sandbox).of("staging").level == "warning"; }));
  CHECK_THAT(diagnose(sandbox).of("staging").what,
             Catch::Contains("1 file of a process that died"));
  CHECK(sandbox.staged().size() == 1);
}

TEST_CASE("doctor: finds damaged records and lost trees in its sample") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "value"}).status == 0);
  const auto shown = sandbox.run({"show", "--json", "k"});
  const auto file = nlohmann::json::parse(shown.output)["file"].get<std::string>();
  {
    std::fstream record(file, std::ios::in | std::ios::out | std::ios::binary);
    record.seekp(-1, std::ios::end);
    record.put('X');
  }
  const auto damaged = diagnose(sandbox);
  CHECK(damaged.status == 1);
  CHECK_THAT(damaged.of("records").what,
             Catch::Contains("1 of 1 record") && Catch::Contains("checksum"));

  REQUIRE(sandbox.run({"delete", "k"}).status == 0);
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("work")}).status == 0);
  CHECK(diagnose(sandbox).of("records").level == "ok");
  fs::remove_all(sandbox.root() + "/trees");
  CHECK_THAT(diagnose(sandbox).of("records").what, Catch::Contains("is missing"));
}

TEST_CASE("doctor: a record from the future tells that the clock was set back") {
  class Tomorrow final : public Clock {
   public:
    [[nodiscard]] WallTime now() const override {
      return SystemClock().now() + std::chrono::hours(24);
    }
  };
  const Sandbox sandbox;
  const Tomorrow tomorrow;
  CacheOptions options;
  options.root = sandbox.root();
  options.clock = &tomorrow;
  const auto cache = Cache::open(std::move(options));
  REQUIRE(cache);
  REQUIRE(cache->set(*Key::from("k"), lock::bytes_of("v"), {}));
  const auto found = diagnose(sandbox);
  CHECK(found.status == 0);
  CHECK(found.of("clock").level == "warning");
  CHECK_THAT(found.of("clock").what, Catch::Contains("1 of 1 record that was read"));
}

TEST_CASE("doctor: finds a replica whose filling was cut off") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("work")}).status == 0);
  REQUIRE(sandbox.run({"pool", "exec", "site", "--", "true"}).status == 0);
  CHECK(diagnose(sandbox).of("replicas").what == "1 replica, none broken");
  const auto broken =
      run(sandbox.shell("sed -i 's/^status=ready/status=filling/; $ s/ \\{2\\}$//' "
                        "\"$CACHECTL_ROOT\"/pools/*/1/state; "
                        "truncate -s 2048 \"$CACHECTL_ROOT\"/pools/*/1/state"));
  REQUIRE(broken.status == 0);
  CHECK(diagnose(sandbox).of("replicas").level == "warning");
}

}  // namespace cachectl::test
