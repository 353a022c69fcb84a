// Commands that write under a lease: what they may, and that a lost lease writes nothing.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "lock/retry.hpp"
#include "tests/cli/leases.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

/// A command whose standard input is held open: it has opened the cache, and so borrowed its
/// lease, before it has read all.
class SlowSet {
 public:
  SlowSet(const Sandbox& sandbox, const std::vector<std::string>& arguments)
      : fifo_(make(sandbox)), running_(start(sandbox, arguments)) {
    reader_.reset();
  }

  /// Whether it has the lock file open, as it has once it has borrowed the lease.
  [[nodiscard]] bool has_borrowed(const Sandbox& sandbox) const {
    std::error_code gone;
    for (const auto& item :
         fs::directory_iterator("/proc/" + std::to_string(running_.pid()) + "/fd", gone)) {
      std::error_code error;
      if (fs::read_symlink(item.path(), error) == sandbox.root() + "/cache.lock") return true;
    }
    return false;
  }

  Outcome finish(const std::string& value) {
    REQUIRE(lock::write_all(writer_.get(), lock::bytes_of(value), "fifo"));
    writer_.reset();
    return running_.wait();
  }
  [[nodiscard]] Running& running() { return running_; }

 private:
  std::string make(const Sandbox& sandbox) {
    auto path = sandbox.file("fifo" + std::to_string(count_++));
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    reader_ = lock::Fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    writer_ = lock::Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    ::fcntl(reader_.get(), F_SETFL, 0);
    return path;
  }
  Running start(const Sandbox& sandbox, const std::vector<std::string>& arguments) {
    auto program = sandbox.cachectl(arguments);
    program.input_from = reader_.get();
    return Running(program);
  }

  inline static int count_ = 0;
  lock::Fd reader_;
  lock::Fd writer_;
  std::string fifo_;
  Running running_;
};

}  // namespace

TEST_CASE("set: under a lease it need not wait for the lease") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  CHECK(sandbox.run({"set", "k", "v", "--lease", id, "--timeout", "10s"}).status == 0);
  CHECK(sandbox.run({"get", "k"}).output == "v");
  CHECK(sandbox
            .run({"run", "--key", "k", "--force", "--lease", id, "--timeout", "10s", "--", "echo",
                  "made"})
            .output == "made\n");
  CHECK(sandbox.run({"get", "k"}).output == "made\n");
  const auto locked = run(sandbox.shell("\"$cachectl\" lock --key k --timeout 10s --lease " + id +
                                        " -- \"$cachectl\" set --timeout 10s k inside"));
  CHECK(locked.status == 0);
  CHECK(locked.errors.empty());
  CHECK(sandbox.run({"get", "k"}).output == "inside");
  CHECK(sandbox.run({"delete", "k", "--lease", id, "--timeout", "10s"}).status == 0);
  CHECK(sandbox.run({"get", "k"}).status == 1);
  CHECK_FALSE(is_free(sandbox, "k"));
  CHECK(sandbox.run({"release", id}).status == 0);
  CHECK(is_free(sandbox, "k"));
}

TEST_CASE("set: CACHECTL_LEASE names the lease as well, also of the whole cache") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "CACHECTL_LEASE=$(\"$cachectl\" acquire); export CACHECTL_LEASE\n"
      "\"$cachectl\" set --timeout 10s a 1 && \"$cachectl\" run --timeout 10s --key b echo 2 &&\n"
      "\"$cachectl\" lock --timeout 10s --key a -- \"$cachectl\" set --timeout 10s a 3 &&\n"
      "id=$(\"$cachectl\" acquire --timeout 10s a) && \"$cachectl\" release $id &&\n"
      "\"$cachectl\" delete --timeout 10s b && \"$cachectl\" gc && \"$cachectl\" release "
      "$CACHECTL_LEASE"));
  CHECK(outcome.errors.empty());
  CHECK(outcome.status == 0);
  CHECK(sandbox.run({"get", "a"}).output == "3");
  CHECK(sandbox.run({"get", "b"}).status == 1);
}

TEST_CASE("set: those who write under one lease exclude each other") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  Running holder(sandbox.cachectl({"lock", "--key", "k", "--lease", id, "--", "sh", "-c",
                                   "echo held; while :; do sleep 0.02; done"}));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  CHECK(sandbox.run({"set", "k", "v", "--lease", id, "--timeout", "50ms"}).status == 124);
}

TEST_CASE("set: a lease of another key or a shared one does not do") {
  const Sandbox sandbox;
  const auto other = acquire(sandbox, {"other"});
  const auto id = acquire(sandbox, {"k"});
  CHECK(sandbox.run({"set", "k", "v", "--lease", other, "--timeout", "50ms"}).status == 124);
  CHECK(sandbox.run({"set", "free", "v", "--lease", other, "--timeout", "10s"}).status == 0);
  CHECK(sandbox.run({"release", id}).status == 0);
  const auto shared = acquire(sandbox, {"k", "--shared"});
  CHECK(sandbox.run({"set", "k", "v", "--lease", shared}).status == 2);
  CHECK(sandbox.run({"get", "k"}).status == 1);
}

TEST_CASE("set: under a lost lease nothing is written over what the next owner wrote") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  ::kill(holder_of_lease(sandbox, id), SIGKILL);
  REQUIRE(becomes_free(sandbox, "k"));
  const auto next = acquire(sandbox, {"k"});
  REQUIRE(sandbox.run({"set", "k", "of the next", "--lease", next}).status == 0);
  check_lost(sandbox.run({"set", "k", "late", "--lease", id}), 125, "was killed");
  check_lost(sandbox.run({"delete", "k", "--lease", id}), 125, "was killed");
  check_lost(sandbox.run({"run", "--key", "k", "--lease", id, "--", "echo", "ran"}), 125,
             "nothing was written");
  check_lost(sandbox.run({"lock", "--key", "k", "--lease", id, "--", "echo", "ran"}), 125,
             "was killed");
  CHECK(sandbox.run({"release", next}).status == 0);
  check_lost(sandbox.run({"set", "k", "late", "--lease", id}), 125, "was killed");
  check_lost(sandbox.run({"set", "k", "late", "--lease", next}), 125, "was released");
  auto program = sandbox.cachectl({"set", "k", "late"});
  program.environment.push_back("CACHECTL_LEASE=" + id);
  check_lost(run(program), 125, "was killed");
  CHECK(sandbox.run({"get", "k"}).output == "of the next");
  CHECK(sandbox.staged().empty());
}

TEST_CASE("set: whose holder is killed while it publishes keeps the lock until it is done") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  SlowSet set(sandbox, {"set", "k", "--lease", id});
  REQUIRE(wait_until([&] { return set.has_borrowed(sandbox); }));
  const auto holder = holder_of_lease(sandbox, id);
  ::kill(holder, SIGKILL);
  REQUIRE(wait_until([&] { return !shown(sandbox, id)["alive"].get<bool>(); }));
  CHECK(sandbox.run({"acquire", "k", "--try"}).status == 1);
  CHECK(sandbox.run({"set", "k", "other", "--timeout", "50ms"}).status == 124);
  const auto outcome = set.finish("of the first");
  CHECK(outcome.status == 0);
  CHECK(sandbox.run({"get", "k"}).output == "of the first");
  CHECK(is_free(sandbox, "k"));
}

TEST_CASE("set: under a lease that is released or expires meanwhile it keeps the lock") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  SlowSet set(sandbox, {"set", "k", "--lease", id});
  REQUIRE(wait_until([&] { return set.has_borrowed(sandbox); }));
  CHECK(sandbox.run({"release", id}).status == 0);
  CHECK(sandbox.run({"acquire", "k", "--try"}).status == 1);
  CHECK(set.finish("value").status == 0);
  CHECK(is_free(sandbox, "k"));

  const auto brief = acquire(sandbox, {"k", "--lease", "1s"});
  SlowSet second(sandbox, {"set", "k", "--lease", brief});
  REQUIRE(wait_until([&] { return second.has_borrowed(sandbox); }));
  REQUIRE(wait_until([&] { return !shown(sandbox, brief)["alive"].get<bool>(); }));
  CHECK_FALSE(is_free(sandbox, "k"));
  CHECK(second.finish("value").status == 0);
  CHECK(is_free(sandbox, "k"));
}

TEST_CASE("lock: under a lease, what it started keeps the lock after its death and the lease's") {
  const Sandbox sandbox;
  const auto id = acquire(sandbox, {"k"});
  const auto gate = sandbox.file("gate");
  Running wrapper(
      sandbox.cachectl({"lock", "--key", "k", "--lease", id, "--", "sh", "-c",
                        "echo held; while [ ! -e " + gate + " ]; do sleep 0.02; done"}));
  REQUIRE(wait_until([&] { return wrapper.output() == "held\n"; }));
  wrapper.send(SIGKILL);
  CHECK(wrapper.wait().status == 128 + SIGKILL);
  CHECK(sandbox.run({"release", id}).status == 0);
  CHECK_FALSE(is_free(sandbox, "k"));
  write_file(gate, "");
  CHECK(becomes_free(sandbox, "k"));
}

TEST_CASE("acquire: a lease that was taken inside a lock keeps that lock as well") {
  const Sandbox sandbox;
  const auto outcome = run(
      sandbox.shell("\"$cachectl\" lock -- sh -c '\"$cachectl\" acquire k --owner '$$' >../id;\n"
                    "\"$cachectl\" set --timeout 10s k inside --lease $(cat ../id)' || exit 1\n"
                    "\"$cachectl\" lock --try -- true; echo $?\n"
                    "\"$cachectl\" set k late --lease $(cat ../id)"));
  CHECK(outcome.status == 0);
  CHECK(outcome.output == "1\n");
  CHECK(sandbox.run({"get", "k"}).output == "late");
  // Until its owner has ended.
  CHECK(sandbox.run({"set", "k", "v", "--timeout", "10s"}).status == 0);
}

}  // namespace cachectl::test
