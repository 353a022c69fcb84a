#include "tests/support/forked.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <utility>

#include "lock/retry.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

namespace {

[[noreturn]] void run(const std::function<int(const Link&)>& body, const Link& link) {
  int status = 99;
  try {
    status = body(link);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "in the forked child: %s\n", problem.what());
  }
  ::_exit(status);
}

}  // namespace

Forked::Forked(const std::function<int(const Link&)>& body)
    : link_([&] {
        auto [ours, theirs] = Link::make();
        pid_ = ::fork();
        if (pid_ < 0) throw std::runtime_error("fork");
        if (pid_ == 0) {
          ours.close();
          run(body, theirs);
        }
        return std::move(ours);
      }()) {}

Forked::Forked(Forked&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), link_(std::move(other.link_)) {}

Forked::~Forked() {
  if (pid_ > 0) kill();
}

void Forked::send(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);  // and never -1, which is everybody
}

void Forked::stop() const {
  send(SIGSTOP);
  siginfo_t info{};
  lock::retry([&] { return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOWAIT); });
}

int Forked::wait() {
  int status = 0;
  if (lock::retry([&] { return ::waitpid(pid_, &status, 0); }) < 0) {
    throw std::runtime_error("waitpid");
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void Forked::kill() {
  send(SIGKILL);
  wait();
}

bool wait_until_asleep(pid_t pid) {
  const auto asleep = [&] {
    const auto text = content_of("/proc/" + std::to_string(pid) + "/stat");
    return text.substr(text.rfind(')') + 2, 1) == "S";
  };
  // Twice in a row: it may have slept a moment for another reason.
  int seen = 0;
  return wait_until([&] { return (seen = asleep() ? seen + 1 : 0) == 10; });
}

}  // namespace cachectl::test
