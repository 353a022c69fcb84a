#include "lock/worker.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <string_view>

#include "lock/detach.hpp"

namespace cachectl::lock {

namespace {

constexpr int kUnexpected = 125;

WorkReport guarded(const std::function<WorkReport()>& work) {
  try {
    return work();
  } catch (const std::exception& problem) {
    return {kUnexpected, std::string("unexpected failure: ") + problem.what()};
  }
}

[[noreturn]] void be_worker(const std::function<WorkReport()>& work, const sigset_t& mask,
                            Bond bond, pid_t parent, int to, std::vector<int> kept) {
  if (bond == Bond::loose) ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died before the call took effect.
  if (::getppid() != parent) ::_exit(128 + SIGKILL);
  kept.insert(kept.end(), {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, to});
  if (bond == Bond::loose) close_all_but(std::move(kept));
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  const auto report = guarded(work);
  std::string_view text = report.text;
  if (bond == Bond::loose) text = text.substr(0, PIPE_BUF);
  [[maybe_unused]] const auto told = write_all(to, bytes_of(text), "pipe");
  ::_exit(report.status);
}

}  // namespace

Result<Worker> Worker::start(const std::function<WorkReport()>& work, const sigset_t& mask,
                             Bond bond, std::vector<int> kept) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error("pipe"));
  Fd read(ends[0]);
  const Fd write(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error("fork"));
  if (pid == 0) be_worker(work, mask, bond, parent, write.get(), std::move(kept));
  if (bond == Bond::loose) ::setpgid(pid, pid);  // kill may come before it has got so far
  return Worker(pid, std::move(read), bond);
}

void Worker::send(int signal) const { ::kill(pid_, signal); }

void Worker::kill() const { ::kill(bond_ == Bond::loose ? -pid_ : pid_, SIGKILL); }

bool Worker::listen() {
  std::array<char, PIPE_BUF> block{};
  const auto got = read_some(pipe_.get(), std::as_writable_bytes(std::span(block)), "pipe");
  if (!got || *got == 0) return false;
  text_.append(block.data(), *got);
  return true;
}

WorkReport Worker::finish(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return {128 + signal, "ended by signal " + std::to_string(signal)};
  }
  // Whom it has left behind may hold the other end.
  ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
  while (listen()) {
  }
  return {WEXITSTATUS(wait_status), std::move(text_)};
}

}  // namespace cachectl::lock
