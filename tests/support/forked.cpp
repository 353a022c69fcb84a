#include "tests/support/forked.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <utility>
#include <vector>

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

namespace {

bool sleeps(const std::filesystem::path& process) {
  const auto text = content_of(process / "stat");
  return text.substr(text.rfind(')') + 2, 1) == "S";
}

}  // namespace

bool wait_until_asleep(pid_t pid) {
  return wait_until_steady([&] { return sleeps("/proc/" + std::to_string(pid)); });
}

bool wait_until_all_asleep(pid_t pid) {
  const auto tasks = "/proc/" + std::to_string(pid) + "/task";
  return wait_until_steady([&] {
    std::vector<std::filesystem::path> all;
    for (const auto& task : std::filesystem::directory_iterator(tasks)) all.push_back(task.path());
    return std::all_of(all.begin(), all.end(), sleeps);
  });
}

}  // namespace cachectl::test
