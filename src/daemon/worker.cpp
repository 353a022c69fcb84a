#include "src/daemon/worker.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <string_view>

#include "lock/detach.hpp"

namespace cachectl::daemon {

namespace {

constexpr int kUnexpected = 125;

Outcome guarded(const std::function<Outcome()>& work) {
  try {
    return work();
  } catch (const std::exception& problem) {
    return {kUnexpected, std::string("unexpected failure: ") + problem.what()};
  }
}

[[noreturn]] void be_worker(const std::function<Outcome()>& work, const sigset_t& mask,
                            pid_t parent, int report) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died before the call took effect.
  if (::getppid() != parent) ::_exit(128 + SIGKILL);
  lock::close_all_but({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, report});
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  const auto outcome = guarded(work);
  // No more than a pipe takes at once, so that nobody has to read it meanwhile.
  const auto text = std::string_view(outcome.reason).substr(0, PIPE_BUF);
  [[maybe_unused]] const auto told = lock::write_all(report, lock::bytes_of(text), "pipe");
  ::_exit(outcome.status);
}

}  // namespace

Result<Worker> Worker::start(const std::function<Outcome()>& work, const sigset_t& mask) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail(system_error("pipe"));
  lock::Fd read(ends[0]);
  const lock::Fd write(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error("fork"));
  if (pid == 0) be_worker(work, mask, parent, write.get());
  ::setpgid(pid, pid);  // here too: kill may come before it has got so far
  return Worker(pid, std::move(read));
}

void Worker::ask_to_end() const { ::kill(pid_, SIGTERM); }

void Worker::kill() const { ::kill(-pid_, SIGKILL); }

Outcome Worker::finish(int wait_status) const {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return {128 + signal, "ended by signal " + std::to_string(signal)};
  }
  Outcome outcome{WEXITSTATUS(wait_status), {}};
  std::array<char, PIPE_BUF> buffer{};
  const auto size =
      lock::read_some(report_.get(), std::as_writable_bytes(std::span(buffer)), "pipe");
  if (size) outcome.reason.assign(buffer.data(), *size);
  return outcome;
}

}  // namespace cachectl::daemon
