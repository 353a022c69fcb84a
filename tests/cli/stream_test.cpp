// Values that are too long for memory, and consumers and disks that fail.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

/// 256 MiB; 1 GiB in the full campaign.
std::string long_size() {
  const char* extent = ::getenv("CACHECTL_SWEEP");
  if (extent != nullptr && std::string_view(extent) == "full") return "1073741824";
  return is_sanitized() ? "33554432" : "268435456";
}

/// Says numbers, $size bytes of them.
constexpr auto kNumbers = "seq 10000000 99999999 | head -c $size";

constexpr long kMostKib = 32 * 1024;

void check_small(const Outcome& outcome) {
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  if (!is_sanitized()) CHECK(outcome.peak_kib < kMostKib);
}

lock::Fd open_for_writing(const std::string& path) {
  return lock::Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

struct Pipe {
  lock::Fd read;
  lock::Fd write;
  Pipe() {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read = lock::Fd(ends[0]);
    write = lock::Fd(ends[1]);
  }
};

/// A file system of its own for the cache of a sandbox; root only.
class Mount {
 public:
  Mount(const Sandbox& sandbox, const std::string& options) : path_(sandbox.root()) {
    fs::create_directory(path_);
    mounted_ =
        ::mount("cachectl-test", path_.c_str(), "tmpfs", 0, ("mode=700," + options).c_str()) == 0;
    if (!mounted_) WARN("SKIPPED: only root can mount a file system");
  }
  ~Mount() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  [[nodiscard]] bool mounted() const { return mounted_; }
  void make_read_only() const {
    REQUIRE(::mount(nullptr, path_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  }

 private:
  std::string path_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("stream: a value longer than memory allows passes through run, get and set") {
  const Sandbox sandbox;
  const auto in_sandbox = [&](std::vector<std::string> arguments) {
    auto program = sandbox.cachectl(std::move(arguments));
    program.environment.push_back("size=" + long_size());
    return program;
  };
  const auto into = [&](Program program, const std::string& name) {
    const auto file = open_for_writing(sandbox.file(name));
    program.output_to = file.get();
    return run(program);
  };
  const auto same = [&](const std::string& name) {
    return run(sandbox.program({"cmp", sandbox.file("expected"), sandbox.file(name)})).status == 0;
  };
  auto expected = sandbox.shell(kNumbers);
  expected.environment.push_back("size=" + long_size());
  REQUIRE(into(expected, "expected").status == 0);

  const std::vector<std::string> cached{"run", "--ttl", "1h", "--key", "k",
                                        "--",  "sh",    "-c", kNumbers};
  check_small(into(in_sandbox(cached), "miss"));
  CHECK(same("miss"));
  check_small(into(in_sandbox(cached), "hit"));
  CHECK(same("hit"));
  check_small(into(in_sandbox({"get", "k"}), "got"));
  CHECK(same("got"));

  const lock::Fd input(::open(sandbox.file("expected").c_str(), O_RDONLY | O_CLOEXEC));
  auto set = in_sandbox({"set", "from-stdin"});
  set.input_from = input.get();
  check_small(run(set));
  REQUIRE(sandbox.run({"delete", "k"}).status == 0);
  check_small(into(in_sandbox({"get", "from-stdin"}), "got"));
  CHECK(same("got"));
}

TEST_CASE("stream: the leader's output appears while its source runs") {
  const Sandbox sandbox;
  Running leader(sandbox.cachectl({"run", "--key", "k", "--", "sh", "-c",
                                   "echo first; echo note >&2; while [ ! -e ../gate ]; do sleep "
                                   "0.02; done; echo second"}));
  CHECK(wait_until([&] { return leader.output() == "first\n" && leader.errors() == "note\n"; }));
  CHECK_FALSE(leader.has_ended());
  write_file(sandbox.file("gate"), "");
  CHECK(leader.wait().output == "first\nsecond\n");
}

TEST_CASE("stream: a consumer of the leader that does not read keeps nobody else waiting") {
  const Sandbox sandbox;
  const Pipe pipe;
  auto program = sandbox.cachectl(
      {"run", "--key", "k", "--", "sh", "-c", "seq 10000000 99999999 | head -c 8388608"});
  auto slow = program;
  slow.output_to = pipe.write.get();
  Running leader(slow);
  REQUIRE(wait_until([&] { return fs::exists(sandbox.root() + "/cache.lock"); }));
  const auto other = run(program);
  CHECK(other.status == 0);
  CHECK(other.output.size() == 8388608);
  CHECK_FALSE(leader.has_ended());
}

TEST_CASE("stream: what is cut off by head is quiet, and stored for others") {
  const Sandbox sandbox;
  auto program = sandbox.program({"bash", "-c",
                                  "\"$cachectl\" run --key k -- sh -c 'seq 1 200000; exit 0' | "
                                  "head -1; echo \"status ${PIPESTATUS[0]}\""});
  const auto outcome = run(program);
  CHECK(outcome.output == "1\nstatus 141\n");
  CHECK(outcome.errors.empty());
  CHECK(lines_of(sandbox.run({"get", "k"}).output).size() == 200000);
  // The same for a hit and for get.
  CHECK(run(program).output == "1\nstatus 141\n");
  program.argv = {"bash", "-c", "\"$cachectl\" get k | head -1; echo \"status ${PIPESTATUS[0]}\""};
  const auto got = run(program);
  CHECK(got.output == "1\nstatus 141\n");
  CHECK(got.errors.empty());
}

TEST_CASE("stream: a standard output that is full or closed is a failure, and said") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "value"}).status == 0);
  const lock::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  for (const bool closed : {false, true}) {
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"get", "k"},
                                               {"ls"},
                                               {"version"},
                                               {"--help"},
                                               {"run", "--key", "k", "--", "false"},
                                               {"run", "--", "echo", closed ? "closed" : "full"}}) {
      INFO(arguments.front() << (closed ? ", closed" : ", full"));
      auto program = sandbox.cachectl(arguments);
      program.close_output = closed;
      if (!closed) program.output_to = full.get();
      const auto outcome = run(program);
      CHECK(outcome.status == 125);
      CHECK(is_one_message(outcome.errors));
    }
  }
  // The value was stored all the same.
  CHECK(sandbox.run({"run", "--", "echo", "full"}).output == "full\n");
}

TEST_CASE("stream: where a standard stream is closed, nothing goes into files of the cache") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const std::string source = " sh -c 'echo out; echo err >&2' ";
  for (const std::string closed : {">&-", "2>&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-"}) {
    INFO(closed);
    run(sandbox.shell("\"$cachectl\" run --ttl 1h --key \"r " + closed + "\" --" + source +
                      closed));
    CHECK(run(sandbox.shell("\"$cachectl\" set k \"v " + closed + "\" " + closed)).status == 0);
    CHECK(sandbox.run({"get", "k"}).output == "v " + closed);
    const auto again = sandbox.run({"run", "--key", "r " + closed, "--", "false"});
    CHECK(again.status == 0);
    CHECK(again.output == "out\n");
    CHECK(again.errors == "err\n");
    const auto lock_file = content_of(sandbox.root() + "/cache.lock");
    CHECK(lock_file.find("out\n") == std::string::npos);
    CHECK(lock_file.find("err\n") == std::string::npos);
  }
  CHECK(run(sandbox.shell("\"$cachectl\" lock -- sh -c '[ ! -e /proc/self/fd/1 ]' >&-")).status ==
        0);
}

TEST_CASE("stream: the source reads from /dev/null, not from the caller") {
  const Sandbox sandbox;
  auto program =
      sandbox.cachectl({"run", "--key", "k", "--", "sh", "-c", "cat; readlink /proc/self/fd/0"});
  program.input = "not for the source";
  CHECK(run(program).output == "/dev/null\n");
}

TEST_CASE("stream: a full disk keeps the old value and leaves nothing behind") {
  const Sandbox sandbox;
  const Mount disk(sandbox, "size=4m");
  if (!disk.mounted()) return;
  REQUIRE(sandbox.run({"set", "k", "old"}).status == 0);
  const std::string big(8 * 1024 * 1024, 'x');

  auto set = sandbox.cachectl({"set", "k"});
  set.input = big;
  const auto refused = run(set);
  CHECK(refused.status == 125);
  CHECK(is_one_message(refused.errors));
  CHECK(sandbox.run({"get", "k"}).output == "old");
  CHECK(sandbox.staged().empty());

  write_file(sandbox.file("big"), big);
  const auto uncached = sandbox.run({"run", "--key", "r", "--", "cat", sandbox.file("big")});
  CHECK(uncached.status == 125);
  CHECK(uncached.output == big);
  CHECK(is_one_message(uncached.errors));
  CHECK(sandbox.run({"get", "r"}).status == 1);
  const auto failed = sandbox.run(
      {"run", "--key", "r", "--", "sh", "-c", "cat " + sandbox.file("big") + "; exit 4"});
  CHECK(failed.status == 4);
  CHECK(failed.output == big);
  CHECK(sandbox.staged().empty());
  CHECK(sandbox.run({"set", "k", "new"}).status == 0);
}

TEST_CASE("stream: a full disk has its room back while the source goes on") {
  const Sandbox sandbox;
  const Mount disk(sandbox, "size=4m");
  if (!disk.mounted()) return;
  const auto gate = sandbox.file("gate");
  Running source(sandbox.cachectl({"run", "--key", "k", "--", "sh", "-c",
                                   "head -c 8388608 /dev/zero; echo full > " + gate +
                                       ".full; until [ -e " + gate + " ]; do sleep 0.02; done"}));
  REQUIRE(wait_until([&] { return fs::exists(gate + ".full"); }));
  auto set = sandbox.cachectl({"set", "other"});
  set.input = std::string(1024 * 1024, 'x');
  CHECK(wait_until([&] { return run(set).status == 0; }, std::chrono::seconds(20)));
  CHECK_FALSE(source.has_ended());
  write_file(gate, "");
  const auto outcome = source.wait();
  CHECK(outcome.status == 125);
  CHECK(outcome.output.size() == 8388608);
}

TEST_CASE("stream: a source that nobody reads and nothing stores ends as by SIGPIPE") {
  const Sandbox sandbox;
  const Mount disk(sandbox, "size=4m");
  if (!disk.mounted()) return;
  REQUIRE(sandbox.run({"set", "k", "old"}).status == 0);
  for (const bool read_only : {false, true}) {
    INFO("read-only " << read_only);
    if (read_only) disk.make_read_only();
    for (const std::string source : {"yes", "sh -c 'yes >&2'"}) {
      const auto outcome = run(
          sandbox.program({"bash", "-c",
                           "\"$cachectl\" run --key e -- " + source +
                               " 2>&1 | head -1 >/dev/null; echo \"status ${PIPESTATUS[0]}\""}));
      CHECK(outcome.output == "status 141\n");
    }
    CHECK(sandbox.run({"get", "k"}).output == "old");
  }
  CHECK(sandbox.staged().empty());
}

TEST_CASE("stream: a cache that may only be read serves, and run goes on without it") {
  const Sandbox sandbox;
  const Mount disk(sandbox, "size=4m");
  if (!disk.mounted()) return;
  REQUIRE(sandbox.run({"set", "k", "value"}).status == 0);
  disk.make_read_only();

  const auto got = sandbox.run({"get", "k"});
  CHECK(got.status == 0);
  CHECK(got.output == "value");
  CHECK(got.errors.empty());
  CHECK(sandbox.run({"run", "--key", "k", "--", "false"}).output == "value");
  const auto ran = sandbox.run({"run", "--key", "other", "--", "sh", "-c", "echo out; exit 5"});
  CHECK(ran.status == 5);
  CHECK(ran.output == "out\n");
  CHECK(is_one_message(ran.errors));
  CHECK_THAT(ran.errors, Catch::StartsWith("cachectl: warning: "));
  const auto set = sandbox.run({"set", "k", "new"});
  CHECK(set.status == 125);
  CHECK(is_one_message(set.errors));
  CHECK(sandbox.run({"ls"}).status == 0);
}

}  // namespace cachectl::test
