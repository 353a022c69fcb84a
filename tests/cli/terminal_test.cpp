// Ctrl-C at a real terminal.
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>

#include "lock/retry.hpp"
#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

/// A shell script that runs in the foreground of a terminal of its own.
class Terminal {
 public:
  Terminal(const Sandbox& sandbox, const std::string& script) {
    auto program = sandbox.shell(script);
    int master = -1;
    pid_ = ::forkpty(&master, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      for (const auto& variable : program.environment) {
        const auto cut = variable.find('=');
        if (cut != std::string::npos) {
          ::setenv(variable.substr(0, cut).c_str(), variable.substr(cut + 1).c_str(), 1);
        }
      }
      if (::chdir(program.directory.c_str()) != 0) ::_exit(255);
      ::execlp("bash", "bash", "-c", script.c_str(), nullptr);
      ::_exit(255);
    }
    master_ = lock::Fd(master);
  }
  ~Terminal() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    wait();
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Reads until `text` was shown.
  bool shows(std::string_view text) {
    while (screen_.find(text) == std::string::npos) {
      pollfd watched{master_.get(), POLLIN, 0};
      if (::poll(&watched, 1, 30'000) <= 0) return false;
      std::array<char, 512> part{};
      const auto got = ::read(master_.get(), part.data(), part.size());
      if (got <= 0) return false;
      screen_.append(part.data(), static_cast<std::size_t>(got));
    }
    return true;
  }

  void press(char key) const { REQUIRE(::write(master_.get(), &key, 1) == 1); }

  int wait() {
    int status = 0;
    lock::retry([&] { return ::waitpid(pid_, &status, 0); });
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = -1;
  lock::Fd master_;
  std::string screen_;
};

constexpr char kCtrlC = 3;

}  // namespace

TEST_CASE("terminal: Ctrl-C ends lock and its command, and the status is 130") {
  const Sandbox sandbox;
  Terminal terminal(
      sandbox,
      "trap : INT; \"$cachectl\" lock -- sh -c 'trap \"echo int >> ../log; exit 130\" "
      "INT; echo ready; while :; do sleep 0.05; done'; echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
  // The terminal told both; the command heard it once.
  CHECK(content_of(sandbox.file("log")) == "int\n");
  CHECK(sandbox.run({"lock", "--try", "--", "true"}).status == 0);
}

TEST_CASE("terminal: a command that dies of Ctrl-C makes lock report 130") {
  const Sandbox sandbox;
  Terminal terminal(sandbox,
                    "trap : INT; \"$cachectl\" lock -- sh -c 'echo ready; exec sleep 60'; "
                    "echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
}

TEST_CASE("terminal: Ctrl-C ends run and its source, and nothing is stored") {
  const Sandbox sandbox;
  Terminal terminal(sandbox,
                    "trap : INT; \"$cachectl\" run --key k -- sh -c 'echo ready; exec sleep 60'; "
                    "echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
  CHECK(sandbox.run({"get", "k"}).status == 1);
  CHECK(sandbox.staged().empty());
}

TEST_CASE("terminal: Ctrl-C while waiting for the lock ends the wait") {
  const Sandbox sandbox;
  Running holder(sandbox.cachectl({"lock", "--", "sh", "-c", "echo held; exec sleep 60"}));
  REQUIRE(wait_until([&] { return holder.output() == "held\n"; }));
  Terminal terminal(sandbox, "trap : INT; echo ready; \"$cachectl\" set k v; echo \"status $?.\"");
  REQUIRE(terminal.shows("ready"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
}

TEST_CASE("terminal: Ctrl-C ends a refresh of several keys, which shows how far it has come") {
  const Sandbox sandbox;
  const auto source = sandbox.script("source",
                                     "trap 'echo int >> ../log; n=1' INT; echo ready >> ../log\n"
                                     "while [ -z \"$n\" ]; do sleep 0.05; done\n"
                                     "for n in 1 2 3 4 5 6; do sleep 0.05; done; exit 130\n");
  write_file(sandbox.file("work/cachectl.toml"),
             "[entries.\"k*\"]\nsource = [\"" + source + "\"]\n");
  Terminal terminal(sandbox,
                    "trap : INT; \"$cachectl\" refresh k1 k2 k3 --jobs 2; echo \"status $?.\"");
  REQUIRE(terminal.shows("0/3: k1, k2"));
  REQUIRE(wait_until([&] { return content_of(sandbox.file("log")) == "ready\nready\n"; }));
  terminal.press(kCtrlC);
  CHECK(terminal.shows("status 130."));
  // The terminal told all of them; each source heard it once.
  CHECK(content_of(sandbox.file("log")) == "ready\nready\nint\nint\n");
  CHECK(sandbox.staged().empty());
}

}  // namespace cachectl::test
