// Every system call of a write failed in turn, and the process killed and stopped there.
//
// What is left out:
//   - calls before main: the loader's and the C library's.
//   - errors of getpid, geteuid, exit_group: they have none.
//   - errors of close: strace would leave the descriptor open, which the kernel never does.
//   - errors of brk: it has none, it returns the old end.
//   - errors of futex: the C library ends the process, there is nothing for us to handle.
//   - errors of rt_sigprocmask: none that a correct argument could meet.
//   - EINTR of clone, clone3, mmap, mprotect, pipe2 and signalfd4: the kernel restarts them,
//     or they do not wait.
//
// A sample by default; all of it with CACHECTL_SWEEP=full in the environment.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <set>

#include "tests/cli/strace.hpp"

namespace cachectl::test {

namespace {

const std::string kNew = "the new value\n";

/// A command that writes the key k, and what is there before.
struct Scenario {
  std::function<void(const Sandbox&)> prepare;
  std::function<Program(const Sandbox&)> write;
  std::set<std::string> before;  ///< what get may say while nothing is published
  std::string passed_on;         ///< the write's own output
};

void remove_root(const Sandbox& sandbox) { std::filesystem::remove_all(sandbox.root()); }

Scenario overwrite() {
  return {[](const Sandbox& sandbox) {
            const auto outcome = sandbox.run({"set", "k", "old"});
            INFO(outcome.errors);
            REQUIRE(outcome.status == 0);
          },
          [](const Sandbox& sandbox) {
            auto program = sandbox.cachectl({"set", "k"});
            program.input = kNew;
            return program;
          },
          {"old"},
          ""};
}

Scenario fresh_root() {
  return {remove_root,
          [](const Sandbox& sandbox) {
            return sandbox.cachectl({"set", "k", kNew});
          },
          {"(miss)"},
          ""};
}

Scenario miss_of_run() {
  return {[](const Sandbox& sandbox) {
            REQUIRE(sandbox.run({"set", "other", "value"}).status == 0);
            sandbox.run({"delete", "k"});
          },
          [](const Sandbox& sandbox) {
            return sandbox.cachectl(
                {"run", "--key", "k", "--", "sh", "-c", "echo the new value; echo a note >&2"});
          },
          {"(miss)"},
          kNew};
}

bool can_meet(const Call& call, const std::string& what) {
  constexpr std::array<std::string_view, 7> kNoErrors{"brk",     "close",  "exit_group",    "futex",
                                                      "geteuid", "getpid", "rt_sigprocmask"};
  constexpr std::array<std::string_view, 6> kNotInterrupted{"clone",    "clone3", "mmap",
                                                            "mprotect", "pipe2",  "signalfd4"};
  const auto in = [&](const auto& names) {
    return std::find(names.begin(), names.end(), call.name) != names.end();
  };
  if (what.starts_with("signal=")) return true;
  return !in(kNoErrors) && (what != "error=EINTR" || !in(kNotInterrupted));
}

enum class Edges { yes, no };

/// Which of the calls to try: all, or each `stride`-th, and with the edges the first and the
/// last of each name.
std::vector<Call> chosen(const std::vector<Call>& calls, std::size_t stride, Edges edges) {
  const char* extent = ::getenv("CACHECTL_SWEEP");
  if (extent != nullptr && std::string_view(extent) == "full") return calls;
  std::set<std::string> seen;
  std::vector<Call> sample;
  for (std::size_t index = 0; index < calls.size(); ++index) {
    const bool first = seen.insert(calls[index].name).second;
    const bool edge = edges == Edges::yes && (first || calls[index].last);
    if (edge || index % stride == 0) sample.push_back(calls[index]);
  }
  return sample;
}

std::string value_of_key(const Sandbox& sandbox) {
  const auto outcome = sandbox.run({"get", "k"});
  CHECK(outcome.errors.empty());
  if (outcome.status == 1 && outcome.output.empty()) return "(miss)";
  CHECK(outcome.status == 0);
  return outcome.output;
}

/// The messages of cachectl; what the source said does not count.
std::vector<std::string> messages_in(const std::string& errors) {
  auto lines = lines_of(errors);
  std::erase(lines, "a note");
  for (const auto& line : lines) CHECK(line.starts_with("cachectl: "));
  return lines;
}

void check_value(const Sandbox& sandbox, const Scenario& scenario, bool must_be_new) {
  const auto value = value_of_key(sandbox);
  CHECK((value == kNew || (!must_be_new && scenario.before.contains(value))));
}

/// After one gc nothing is staged. A source that dies with its leader may take a moment.
void check_clean(const Sandbox& sandbox) {
  // A directory that did not become a cache yet is none to gc.
  if (!std::filesystem::exists(sandbox.root() + "/format")) return;
  const auto outcome = sandbox.run({"gc"});
  INFO(outcome.errors);
  CHECK(outcome.status == 0);
  if (sandbox.staged().empty()) return;
  CHECK(wait_until([&] { return sandbox.run({"gc"}).status == 0 && sandbox.staged().empty(); },
                   std::chrono::seconds(10)));
}

void sweep(const Scenario& scenario, const std::string& what, std::size_t stride, Edges edges,
           const std::function<void(const Sandbox&, const Call&, const Outcome&)>& check) {
  const Sandbox sandbox;
  if (!can_trace(sandbox)) return;
  scenario.prepare(sandbox);
  const auto program = scenario.write(sandbox);
  auto calls = calls_of(sandbox, program);
  std::erase_if(calls, [&](const auto& call) { return !can_meet(call, what); });
  calls = chosen(calls, stride, edges);
  std::size_t met = 0;
  for (const auto& call : calls) {
    INFO(call.describe() << " " << what);
    scenario.prepare(sandbox);
    const auto outcome = run(injected(sandbox, program, call, what));
    met += was_injected(sandbox) ? 1 : 0;
    INFO("status " << outcome.status << ", stderr: " << outcome.errors);
    check(sandbox, call, outcome);
    check_value(sandbox, scenario, outcome.status == 0);
    CHECK(scenario.passed_on.starts_with(outcome.output));
    CHECK((outcome.status != 0 || outcome.output == scenario.passed_on));
    check_clean(sandbox);
    const auto next = sandbox.run({"set", "k", "next"});
    INFO(next.errors);
    CHECK(next.status == 0);
    CHECK(value_of_key(sandbox) == "next");
    check_clean(sandbox);
  }
  // How often it polls, reads and wakes its threads varies a little from run to run.
  CHECK(met * 4 >= calls.size() * 3);
}

void check_failure(const Sandbox& sandbox, const Call& call, const Outcome& outcome) {
  // What is not synced is not stored, however whole it looks.
  CHECK((outcome.status != 0 || call.name != "fsync" || !was_injected(sandbox)));
  if (outcome.status == 0) return;
  const auto messages = messages_in(outcome.errors);
  REQUIRE(!messages.empty());
  // Or the source died of the pipe that we could not read from any more.
  const bool in_configuration = messages[0].find("configuration file") != std::string::npos;
  CHECK((outcome.status == (in_configuration ? 2 : 125) || outcome.status == 128 + SIGPIPE));
}

void check_no_failure(const Sandbox&, const Call&, const Outcome& outcome) {
  CHECK(outcome.status == 0);
  CHECK(messages_in(outcome.errors).empty());
}

void check_killed(const Sandbox& sandbox, const Call&, const Outcome& outcome) {
  CHECK(outcome.status == (was_injected(sandbox) ? 128 + SIGKILL : 0));
}

/// Stops the writer at each call: others go on beside it, and then it does.
void stop_sweep(const Scenario& scenario, std::size_t stride) {
  const Sandbox sandbox;
  if (!can_trace(sandbox)) return;
  scenario.prepare(sandbox);
  const auto program = scenario.write(sandbox);
  for (const auto& call : chosen(calls_of(sandbox, program), stride, Edges::no)) {
    INFO(call.describe());
    scenario.prepare(sandbox);
    Running writer(injected(sandbox, program, call, "signal=STOP"));
    if (const auto stopped = stopped_below(sandbox, writer)) {
      check_value(sandbox, scenario, false);
      CHECK(sandbox.run({"gc"}).status == 0);
      ::kill(*stopped, SIGCONT);
    }
    check_no_failure(sandbox, call, writer.wait());
    CHECK(value_of_key(sandbox) == kNew);
    CHECK(sandbox.staged().empty());
  }
}

/// Runs `program` with `what` at each of the chosen calls, and checks after each.
void inject_everywhere(const Sandbox& sandbox, const Program& program, const std::string& what,
                       std::size_t stride, const std::function<void()>& prepare,
                       const std::function<void(const Outcome&)>& check) {
  if (!can_trace(sandbox)) return;
  prepare();
  auto calls = calls_of(sandbox, program);
  std::erase_if(calls, [&](const auto& call) { return !can_meet(call, what); });
  for (const auto& call : chosen(calls, stride, Edges::no)) {
    INFO(call.describe() << " " << what);
    prepare();
    const auto outcome = run(injected(sandbox, program, call, what));
    INFO("status " << outcome.status << ", stderr: " << outcome.errors);
    if (what.starts_with("error=") && outcome.status != 0)
      CHECK(!messages_in(outcome.errors).empty());
    check(outcome);
    check_clean(sandbox);
  }
}

/// A tree over a tree: one or the other, whole, and 0 only for the new one.
void tree_sweep(const std::string& what, std::size_t stride) {
  const Sandbox sandbox;
  const auto made = run(sandbox.shell(
      "for d in old new; do mkdir -p $d/sub/empty; echo $d > $d/x; echo $d > $d/sub/y; "
      "ln -s x $d/link; done"));
  REQUIRE(made.status == 0);
  const auto content = sandbox.shell("cat $($cachectl path k)/x $($cachectl path k)/sub/y");
  inject_everywhere(
      sandbox, sandbox.cachectl({"set", "k", "--dir", "new"}), what, stride,
      [&] {
        REQUIRE(sandbox.run({"set", "k", "--dir", "old"}).status == 0);
      },
      [&](const Outcome& outcome) {
        const auto seen = run(content).output;
        CHECK((seen == "new\nnew\n" || (outcome.status != 0 && seen == "old\nold\n")));
        CHECK(sandbox.run({"verify", "k"}).status == 0);
      });
}

/// A replica that is made, brought up to date or given back: the next one gets it whole.
void pool_sweep(const std::vector<std::string>& command, const std::string& what,
                std::size_t stride) {
  const Sandbox sandbox;
  configure(sandbox, "[entries.k.pool]\nmax = 1\ncopy = \"copy\"\n");
  REQUIRE(run(sandbox.shell("for d in old new; do mkdir -p $d/sub; echo $d > $d/x; echo $d > "
                            "$d/sub/$d; done"))
              .status == 0);
  inject_everywhere(
      sandbox, sandbox.cachectl(command), what, stride,
      [&] {
        // A replica of the old value, changed by its user, and a new value.
        REQUIRE(
            run(sandbox.shell("$cachectl set k --dir old && $cachectl pool exec k -- sh -c 'echo "
                              "mine > $CACHECTL_REPLICA/x' && $cachectl set k --dir new"))
                .status == 0);
      },
      [&](const Outcome&) {
        const auto next = run(sandbox.shell(
            "$cachectl pool exec k --timeout 10s -- sh -c 'cd $CACHECTL_REPLICA && cat x sub/* && "
            "ls sub'"));
        CHECK(next.errors.empty());
        CHECK(next.output == "new\nnew\nnew\n");
      });
}

/// A root that is made, and gets more in it, while a reader is stopped at one of its calls.
void reader_beside_maker(std::size_t stride) {
  const Sandbox sandbox;
  if (!can_trace(sandbox)) return;
  const auto reset = [&] {
    std::filesystem::remove_all(sandbox.root());
    std::filesystem::create_directory(sandbox.root());
    std::filesystem::permissions(sandbox.root(), std::filesystem::perms::owner_all);
  };
  reset();
  const auto program = sandbox.cachectl({"ls"});
  for (const auto& call : chosen(calls_of(sandbox, program), stride, Edges::no)) {
    INFO(call.describe());
    reset();
    Running reader(injected(sandbox, program, call, "signal=STOP"));
    if (const auto stopped = stopped_below(sandbox, reader)) {
      REQUIRE(sandbox.run({"set", "k", "v", "--durability", "none"}).status == 0);
      REQUIRE(sandbox.run({"set", "tree", "--dir", "."}).status == 0);
      ::kill(*stopped, SIGCONT);
    }
    const auto outcome = reader.wait();
    INFO(outcome.errors);
    CHECK(outcome.errors.empty());
    CHECK(outcome.status == 0);
  }
}

/// The thread of a leader that passes its output on while the source runs.
pid_t follower_of(pid_t leader) {
  pid_t found = 0;
  REQUIRE(wait_until([&] {
    for (const auto& task :
         std::filesystem::directory_iterator("/proc/" + std::to_string(leader) + "/task")) {
      const pid_t thread = std::stoi(task.path().filename());
      if (thread != leader) found = thread;
    }
    return found != 0;
  }));
  return found;
}

/// The value is stored, whatever happens to the consumer's copy.
void follower_sweep(const Call& call, const std::string& what, bool must_succeed) {
  const Sandbox sandbox;
  if (!can_trace(sandbox)) return;
  const std::string script = "while [ ! -e ../gate ]; do sleep 0.02; done; echo the new value";
  Running leader(sandbox.cachectl({"run", "--key", "k", "--", "sh", "-c", script}));
  auto strace = inject_into_thread(sandbox, follower_of(leader.pid()), call, what);
  write_file(sandbox.file("gate"), "");
  const auto outcome = leader.wait();
  strace.wait();
  INFO(call.describe() << " " << what << ", stderr: " << outcome.errors);
  CHECK(was_injected(sandbox));
  CHECK(value_of_key(sandbox) == kNew);
  CHECK(outcome.status == (must_succeed ? 0 : 125));
  CHECK(outcome.output == (must_succeed ? kNew : ""));
  CHECK(messages_in(outcome.errors).size() == (must_succeed ? 0 : 1));
  CHECK(sandbox.staged().empty());
}

}  // namespace

TEST_CASE("sweep: run stores the value when the thread that passes it on fails, and says so") {
  for (const auto* call : {"write", "pread64"}) {
    follower_sweep({call, 1}, "error=EIO", false);
    follower_sweep({call, 1}, "error=ENOSPC", false);
    follower_sweep({call, 1}, "error=EINTR", true);
  }
}
TEST_CASE("sweep: run stores and passes on everything where no thread can be made") {
  const Sandbox sandbox;
  if (!can_trace(sandbox)) return;
  const auto scenario = miss_of_run();
  scenario.prepare(sandbox);
  auto traced = injected(sandbox, scenario.write(sandbox), {"clone3", 1}, "error=EAGAIN");
  for (auto& word : traced.argv) {
    if (word.ends_with(":when=1")) word += "+";  // and all after it
  }
  const auto outcome = run(traced);
  CHECK(was_injected(sandbox));
  CHECK(outcome.status == 0);
  CHECK(outcome.output == kNew);
  CHECK(outcome.errors == "a note\n");
  CHECK(value_of_key(sandbox) == kNew);
}
TEST_CASE("sweep: set over a value keeps old or new whichever call fails with EIO") {
  sweep(overwrite(), "error=EIO", 5, Edges::yes, check_failure);
}
TEST_CASE("sweep: set over a value keeps old or new whichever call fails with ENOSPC") {
  sweep(overwrite(), "error=ENOSPC", 7, Edges::no, check_failure);
}
TEST_CASE("sweep: set over a value does not mind whichever call is interrupted") {
  sweep(overwrite(), "error=EINTR", 7, Edges::yes, check_no_failure);
}
TEST_CASE("sweep: set over a value keeps old or new wherever it is killed") {
  sweep(overwrite(), "signal=KILL", 5, Edges::yes, check_killed);
}
TEST_CASE("sweep: set over a value keeps nobody waiting wherever it is stopped") {
  stop_sweep(overwrite(), 6);
}
TEST_CASE("sweep: set into a new root stores all or nothing whichever call fails") {
  sweep(fresh_root(), GENERATE("error=EIO", "error=ENOSPC"), 7, Edges::no, check_failure);
}
TEST_CASE("sweep: set into a new root does not mind whichever call is interrupted") {
  sweep(fresh_root(), "error=EINTR", 7, Edges::no, check_no_failure);
}
TEST_CASE("sweep: set into a new root stores all or nothing wherever it is killed") {
  sweep(fresh_root(), "signal=KILL", 5, Edges::yes, check_killed);
}
TEST_CASE("sweep: set into a new root keeps nobody waiting wherever it is stopped") {
  stop_sweep(fresh_root(), 9);
}
TEST_CASE("sweep: run ends with 0 only if it stored, whichever call fails with EIO") {
  sweep(miss_of_run(), "error=EIO", 5, Edges::yes, check_failure);
}
TEST_CASE("sweep: run ends with 0 only if it stored, whichever call fails with ENOSPC") {
  sweep(miss_of_run(), "error=ENOSPC", 9, Edges::no, check_failure);
}
TEST_CASE("sweep: run does not mind whichever call is interrupted") {
  sweep(miss_of_run(), "error=EINTR", 9, Edges::yes, check_no_failure);
}
TEST_CASE("sweep: run stores all or nothing wherever it is killed") {
  sweep(miss_of_run(), "signal=KILL", 5, Edges::yes, check_killed);
}
TEST_CASE("sweep: run keeps no reader waiting wherever it is stopped") {
  stop_sweep(miss_of_run(), 9);
}

TEST_CASE("sweep: a reader takes a root that is made beside it for none or for a whole one") {
  reader_beside_maker(1);
}

TEST_CASE("sweep: a tree over a tree is one or the other, whole, whichever call fails") {
  tree_sweep(GENERATE("error=EIO", "error=ENOSPC"), 23);
}
TEST_CASE("sweep: a tree over a tree is one or the other, whole, wherever it is killed") {
  tree_sweep("signal=KILL", 13);
}
TEST_CASE("sweep: a replica is whole for the next one, whichever call of exec fails") {
  pool_sweep({"pool", "exec", "k", "--", "true"}, GENERATE("error=EIO", "error=ENOSPC"), 29);
}
TEST_CASE("sweep: a replica is whole for the next one, wherever exec is killed") {
  pool_sweep({"pool", "exec", "k", "--", "true"}, "signal=KILL", 17);
}
TEST_CASE("sweep: a replica is whole for the next one, wherever checkout is killed") {
  pool_sweep({"pool", "checkout", "k"}, "signal=KILL", 29);
}

}  // namespace cachectl::test
