// A real terminal, with a shell in its foreground.
#pragma once

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "lock/retry.hpp"
#include "tests/cli/support.hpp"

namespace cachectl::test {

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

  void type(std::string_view keys) const {
    for (const char key : keys) press(key);
  }

  /// All that was shown so far.
  [[nodiscard]] const std::string& screen() const { return screen_; }

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

}  // namespace cachectl::test
