// Many ask for one cold key at once, and the leader may come to harm.
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <thread>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

const std::size_t kAskers = is_sanitized() ? 40 : 250;

/// How each source begins: it complains of others that live, and says who it is and whose
/// child, in a log. One that was killed has no command line any more.
constexpr auto kBeginning = R"sh(
for other in $(sed -n 's/^start \([0-9]*\) .*/\1/p' "$log"); do
  if [ -n "$(tr -d '\0' < /proc/$other/cmdline)" ]; then echo "overlap $other" >> "$log"; fi
done 2> /dev/null
echo "start $$ $PPID" >> "$log"
seq 1 5000
echo "a note of $$" >&2
)sh";

/// Processes that ask for the value of one source.
class Crowd {
 public:
  explicit Crowd(const std::string& rest, const std::string& beginning = "")
      : source_(sandbox_.script("source", beginning + kBeginning + rest)) {
    write_file(log(), "");
  }

  void gather() {
    for (std::size_t index = 0; index < kAskers; ++index) askers_.emplace_back(ask());
    // All but the leader.
    REQUIRE(wait_until([&] {
      const auto waiting = std::count_if(askers_.begin(), askers_.end(),
                                         [](const auto& one) { return waits_for_lock(one.pid()); });
      return logged("start ").size() == 1 && static_cast<std::size_t>(waiting) == kAskers - 1;
    }));
  }

  void open_gate() const { write_file(sandbox_.file("gate"), ""); }

  /// The outcomes of all but the leader, who ends with `status_of_leader`.
  std::vector<Outcome> outcomes_beside_leader(int status_of_leader) {
    const pid_t leader = leader_of(logged("start ").front());
    std::vector<Outcome> others;
    for (auto& one : askers_) {
      const bool leads = one.pid() == leader;
      auto outcome = one.wait();
      if (leads) {
        CHECK(outcome.status == status_of_leader);
      } else {
        others.push_back(std::move(outcome));
      }
    }
    CHECK(others.size() == kAskers - 1);
    return others;
  }

  std::vector<Outcome> outcomes() {
    std::vector<Outcome> all;
    for (auto& one : askers_) all.push_back(one.wait());
    return all;
  }

  void send_to_leader(int signal) const { ::kill(leader_of(logged("start ").front()), signal); }

  [[nodiscard]] Program ask() const {
    auto program = sandbox_.cachectl({"run", "--ttl", "1h", "--key", "k", "--", source_});
    program.environment.push_back("log=" + log());
    // Who waits for more than five seconds says so.
    program.environment.emplace_back("CACHECTL_LOG_LEVEL=warning");
    program.environment.push_back("gate=" + sandbox_.file("gate"));
    return program;
  }

  /// The lines of the log that begin so.
  [[nodiscard]] std::vector<std::string> logged(std::string_view beginning) const {
    auto lines = lines_of(content_of(log()));
    std::erase_if(lines, [&](const auto& line) { return !line.starts_with(beginning); });
    return lines;
  }

  [[nodiscard]] const Sandbox& sandbox() const { return sandbox_; }

 private:
  [[nodiscard]] std::string log() const { return sandbox_.file("log"); }
  static pid_t leader_of(const std::string& line) {
    return std::stoi(line.substr(line.rfind(' ') + 1));
  }

  Sandbox sandbox_;
  std::string source_;
  std::vector<Running> askers_;
};

constexpr auto kGate = "while [ ! -e \"$gate\" ]; do sleep 0.02; done\n";
/// Different each time it runs.
constexpr auto kPayload = "head -c 8 /dev/urandom | od -An -tx1\n";

/// Of all outcomes there is one kind.
void check_all_alike(const std::vector<Outcome>& outcomes, int status) {
  std::set<std::string> outputs;
  std::set<std::string> errors;
  std::set<int> statuses;
  for (const auto& outcome : outcomes) {
    outputs.insert(outcome.output);
    errors.insert(outcome.errors);
    statuses.insert(outcome.status);
  }
  CHECK(statuses == std::set<int>{status});
  CHECK(outputs.size() == 1);
  CHECK(errors.size() == 1);
  CHECK(lines_of(*outputs.begin()).size() == 5001);
  CHECK(errors.begin()->starts_with("a note of "));
}

}  // namespace

TEST_CASE("stampede: the source runs once and all get its bytes") {
  Crowd crowd(std::string(kGate) + "sleep 1\n" + kPayload);
  crowd.gather();
  crowd.open_gate();
  check_all_alike(crowd.outcomes(), 0);
  CHECK(crowd.logged("start ").size() == 1);
  CHECK(crowd.sandbox().staged().empty());
  CHECK(run(crowd.ask()).status == 0);
  CHECK(crowd.logged("start ").size() == 1);
}

TEST_CASE("stampede: all share one failure, and a later asker runs the source again") {
  Crowd crowd(std::string(kGate) + kPayload + "exit 3\n");
  crowd.gather();
  crowd.open_gate();
  check_all_alike(crowd.outcomes(), 3);
  CHECK(crowd.logged("start ").size() == 1);
  CHECK(crowd.sandbox().run({"get", "k"}).status == 1);
  CHECK(run(crowd.ask()).status == 3);
  CHECK(crowd.logged("start ").size() == 2);
}

TEST_CASE("stampede: when the leader is killed, the source dies and runs exactly once more") {
  Crowd crowd(std::string(kGate) + kPayload);
  crowd.gather();
  crowd.send_to_leader(SIGKILL);
  REQUIRE(wait_until([&] { return crowd.logged("start ").size() == 2; }));
  crowd.open_gate();
  check_all_alike(crowd.outcomes_beside_leader(128 + SIGKILL), 0);
  CHECK(crowd.logged("start ").size() == 2);
  CHECK(crowd.logged("overlap ").empty());
  CHECK(crowd.sandbox().run({"gc"}).status == 0);
  CHECK(crowd.sandbox().staged().empty());
}

TEST_CASE("stampede: a child of the source that outlives its killed leader keeps the lock") {
  // Not the source itself, which dies with the leader.
  Crowd crowd(
      "(echo child >> \"$log\"; while [ ! -e \"$gate\" ]; do sleep 0.02; done; sleep 0.3\n"
      "echo end >> \"$log\")\n" +
      std::string(kPayload));
  crowd.gather();
  // The source may have said that it began long before it has a child.
  REQUIRE(wait_until([&] { return crowd.logged("child").size() == 1; }));
  crowd.send_to_leader(SIGKILL);
  // Long enough for a waiter to begin, were the lock free.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(crowd.logged("start ").size() == 1);
  crowd.open_gate();
  check_all_alike(crowd.outcomes_beside_leader(128 + SIGKILL), 0);
  const auto lines = crowd.logged("");
  REQUIRE(lines.size() == 6);
  CHECK(lines[0].starts_with("start "));
  CHECK(lines[1] == "child");
  CHECK(lines[2] == "end");
  CHECK(lines[3].starts_with("start "));
  CHECK(lines[4] == "child");
  CHECK(lines[5] == "end");
}

TEST_CASE("stampede: a signal to the leader reaches the source, stores nothing, one takes over") {
  const int signal = GENERATE(SIGTERM, SIGINT);
  Crowd crowd(std::string(kGate) + kPayload,
              "trap 'echo ended by TERM >> \"$log\"; exit 0' TERM\n"
              "trap 'echo ended by INT >> \"$log\"; exit 0' INT\n");
  crowd.gather();
  crowd.send_to_leader(signal);
  REQUIRE(wait_until([&] { return crowd.logged("start ").size() == 2; }));
  CHECK(crowd.logged("ended by ") ==
        std::vector<std::string>{signal == SIGTERM ? "ended by TERM" : "ended by INT"});
  CHECK(crowd.sandbox().run({"get", "k"}).status == 1);
  crowd.open_gate();
  check_all_alike(crowd.outcomes_beside_leader(128 + signal), 0);
  CHECK(crowd.logged("start ").size() == 2);
  CHECK(crowd.logged("overlap ").empty());
  CHECK(crowd.sandbox().staged().empty());
}

TEST_CASE("stampede: one that is stopped while it waits keeps nobody else waiting") {
  Crowd crowd(std::string(kGate) + kPayload);
  Running leader(crowd.ask());
  REQUIRE(wait_until([&] { return crowd.logged("start ").size() == 1; }));
  Running stopped(crowd.ask());
  Running other(crowd.ask());
  REQUIRE(wait_until([&] { return waits_for_lock(stopped.pid()) && waits_for_lock(other.pid()); }));
  stopped.stop();
  crowd.open_gate();
  std::vector<Outcome> outcomes;
  outcomes.push_back(leader.wait());
  outcomes.push_back(other.wait());
  CHECK(run(crowd.ask()).output == outcomes.front().output);
  stopped.send(SIGCONT);
  outcomes.push_back(stopped.wait());
  check_all_alike(outcomes, 0);
}

TEST_CASE("stampede: a source that is not found is 127 for each") {
  const Sandbox sandbox;
  std::vector<Running> askers;
  for (int index = 0; index < 20; ++index) {
    askers.emplace_back(sandbox.cachectl({"run", "--key", "k", "--", "no-such-command"}));
  }
  for (auto& one : askers) {
    const auto outcome = one.wait();
    CHECK(outcome.status == 127);
    CHECK(outcome.output.empty());
    CHECK(is_one_message(outcome.errors));
  }
  CHECK(sandbox.staged().empty());
}

}  // namespace cachectl::test
