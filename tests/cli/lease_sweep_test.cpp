// acquire, killed at each of its system calls and failed at each of them: either it has told
// the id of a lease that lives, or the lock is free. Its owner lives on all the while.
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/cli/leases.hpp"
#include "tests/cli/strace.hpp"

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

bool can_fail(const Call& call) {
  // As in sweep_test.cpp; and _exit has none.
  constexpr std::array<std::string_view, 8> kNoErrors{
      "brk", "close", "exit_group", "futex", "geteuid", "getpid", "getppid", "rt_sigprocmask"};
  return std::find(kNoErrors.begin(), kNoErrors.end(), call.name) == kNoErrors.end();
}

/// What acquire left, whatever became of it.
void check_left(const Sandbox& sandbox, const Outcome& outcome) {
  const bool told = outcome.output.size() == 17;
  CHECK((told || outcome.output.empty()));
  if (outcome.status == 0) {
    CHECK(told);
    CHECK_FALSE(is_free(sandbox, "k"));
    CHECK(sandbox.run({"set", "k", "v", "--lease", first_line(outcome.output)}).status == 0);
  }
  if (told) {
    const auto released = sandbox.run({"release", first_line(outcome.output)});
    CHECK((released.status == 0 || (released.status == 1 && outcome.status != 0)));
  }
  CHECK(sandbox.run({"lock", "--timeout", "10s", "--key", "k", "--", "true"}).status == 0);
  CHECK(sandbox.run({"set", "k", "v", "--timeout", "10s"}).status == 0);
  CHECK(sandbox.run({"gc"}).status == 0);
  if (fs::exists(sandbox.root() + "/leases")) {
    CHECK(wait_until(
        [&] {
          sandbox.run({"gc"});
          return fs::is_empty(sandbox.root() + "/leases");
        },
        std::chrono::seconds(10)));
  }
  CHECK(sandbox.staged().empty());
}

void sweep(const std::string& what) {
  const Sandbox sandbox;
  if (!can_trace(sandbox)) return;
  const auto acquire_it = [&] {
    return sandbox.cachectl({"acquire", "k", "--owner", std::to_string(::getpid())});
  };
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  const auto calls = calls_of(sandbox, acquire_it());
  REQUIRE(calls.size() > 30);
  for (const auto& item : fs::directory_iterator(sandbox.root() + "/leases")) {
    sandbox.run({"release", "--", item.path().filename()});
  }
  std::size_t met = 0;
  for (const auto& call : calls) {
    if (what.starts_with("error=") && !can_fail(call)) continue;
    INFO(what << " at " << call.describe());
    const auto outcome = run(injected(sandbox, acquire_it(), call, what));
    INFO(outcome.errors);
    if (was_injected(sandbox)) ++met;
    check_left(sandbox, outcome);
  }
  CHECK(met > 30);
}

}  // namespace

TEST_CASE("acquire: killed at any system call leaves a lease that was told, or a free lock") {
  sweep("signal=KILL");
}

TEST_CASE("acquire: failing at any system call takes a lease, or says so and leaves none") {
  sweep("error=EIO");
}

}  // namespace cachectl::test
