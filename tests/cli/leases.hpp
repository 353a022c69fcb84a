// What the tests of leases share: shells that own one, and what is known of one.
#pragma once

#include <signal.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/support.hpp"

namespace cachectl::test {

inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// A shell that runs a script, says what the script says, and then waits for its end.
class Shell {
 public:
  Shell(const Sandbox& sandbox, const std::string& script, std::vector<std::string> shell = {"sh"})
      : running_(start(sandbox, script, std::move(shell))) {
    REQUIRE(
        wait_until([&] { return running_.output().ends_with("ready\n") || running_.has_ended(); }));
    INFO(running_.errors());
    REQUIRE_FALSE(running_.has_ended());
  }

  /// The id that the script printed first.
  [[nodiscard]] std::string id() const { return first_line(running_.output()); }
  [[nodiscard]] Running& running() { return running_; }
  void kill() {
    running_.send(SIGKILL);
    running_.wait();
  }

 private:
  static Running start(const Sandbox& sandbox, const std::string& script,
                       std::vector<std::string> shell) {
    shell.insert(shell.end(), {"-c", script + "\necho ready\nwhile :; do sleep 0.02; done"});
    return Running(sandbox.program(std::move(shell)));
  }

  Running running_;
};

/// A shell that is PID 1 of a PID namespace of its own, perhaps with the /proc of another.
inline std::vector<std::string> contained(bool own_proc) {
  std::vector<std::string> words{"unshare", "--pid", "--fork", "--kill-child"};
  if (own_proc) words.emplace_back("--mount-proc");
  words.emplace_back("sh");
  return words;
}

inline bool can_contain() {
  const Sandbox sandbox;
  auto words = contained(true);
  words.insert(words.end(), {"-c", "true"});
  return run(sandbox.program(words)).status == 0;
}

/// A lease of the process that runs this test, or of `owner`.
inline std::string acquire(const Sandbox& sandbox, std::vector<std::string> options = {}) {
  options.insert(options.begin(), {"acquire", "--timeout", "30s"});
  const auto outcome = sandbox.run(options);
  INFO(outcome.errors);
  REQUIRE(outcome.status == 0);
  const auto id = first_line(outcome.output);
  REQUIRE(id.size() == 16);
  return id;
}

inline nlohmann::json shown(const Sandbox& sandbox, const std::string& id) {
  const auto outcome = sandbox.run({"lease", "show", "--json", id});
  auto lease = nlohmann::json::parse(outcome.output);
  REQUIRE(outcome.status == (lease["alive"].get<bool>() ? 0 : 1));
  return lease;
}

inline pid_t holder_of_lease(const Sandbox& sandbox, const std::string& id) {
  return shown(sandbox, id)["holder_pid"].get<pid_t>();
}

inline bool is_free(const Sandbox& sandbox, const std::string& key) {
  return sandbox.run({"lock", "--try", "--key", key, "--", "true"}).status == 0;
}

inline bool becomes_free(const Sandbox& sandbox, const std::string& key) {
  return sandbox.run({"lock", "--timeout", "60s", "--key", key, "--", "true"}).status == 0;
}

/// Said in one line that the lease was lost, and why.
inline void check_lost(const Outcome& outcome, int status, const std::string& why) {
  INFO(outcome.errors);
  CHECK(outcome.status == status);
  CHECK(outcome.output.empty());
  CHECK(is_one_message(outcome.errors));
  CHECK_THAT(outcome.errors, Catch::Contains("was lost: ") && Catch::Contains(why));
}

}  // namespace cachectl::test
