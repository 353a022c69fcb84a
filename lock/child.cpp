#include "lock/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

/// What the child needs after the fork, prepared before it: between fork and exec
/// only async-signal-safe calls are allowed.
struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> environment;
};

std::string_view name_of(std::string_view assignment) {
  return assignment.substr(0, assignment.find('=') + 1);
}

Prepared prepare(const Command& command) {
  Prepared prepared;
  for (const auto& argument : command.argv) {
    prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  }
  prepared.argv.push_back(nullptr);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    bool replaced = false;
    for (const auto& added : command.environment) {
      replaced = replaced || name_of(added) == name_of(*variable);
    }
    if (!replaced) prepared.environment.push_back(*variable);
  }
  for (const auto& added : command.environment) {
    prepared.environment.push_back(const_cast<char*>(added.c_str()));
  }
  prepared.environment.push_back(nullptr);
  return prepared;
}

/// Something that reads as empty. Where there is no /dev, as in a chroot with little in it: a
/// pipe that nobody writes to.
int open_empty() {
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) return null;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return -1;
  ::close(ends[1]);
  return ends[0];
}

bool set_up_streams(const Command& command) {
  if (command.null_input) {
    const int null = open_empty();
    if (null < 0 || ::dup2(null, STDIN_FILENO) < 0) return false;
  }
  if (command.output >= 0 && ::dup2(command.output, STDOUT_FILENO) < 0) return false;
  if (command.error >= 0 && ::dup2(command.error, STDERR_FILENO) < 0) return false;
  for (const int kept : command.keep_open) {
    if (::fcntl(kept, F_SETFD, 0) < 0) return false;
  }
  return true;
}

/// Why the child could not become the command.
struct Failure {
  int error = 0;
  bool in_child = false;  ///< Command::in_child failed, not the exec
  bool in_directory = false;
};

[[noreturn]] void become(const Command& command, const Prepared& prepared, const sigset_t* mask,
                         pid_t parent, int report) {
  bool ready = true;
  if (command.die_with_parent) {
    ready = ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    // It may have died before the call took effect.
    if (::getppid() != parent) ::_exit(128 + SIGKILL);
  }
  if (command.own_group) ::setpgid(0, 0);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGXFSZ, SIG_DFL);
  ready = ready && set_up_streams(command);
  if (mask != nullptr) ::sigprocmask(SIG_SETMASK, mask, nullptr);
  Failure failure;
  if (ready && !command.directory.empty() && ::chdir(command.directory.c_str()) != 0) {
    ready = false;
    failure.in_directory = true;
  }
  if (ready && command.in_child && !command.in_child()) {
    ready = false;
    failure.in_child = true;
  }
  if (ready) {
    environ = const_cast<char**>(prepared.environment.data());
    ::execvp(prepared.argv[0], prepared.argv.data());
  }
  failure.error = errno;
  [[maybe_unused]] const auto told = ::write(report, &failure, sizeof failure);
  ::_exit(127);
}

Error exec_error(const std::string& name, int error) {
  auto failure = system_error(name, error);
  failure.code = error == ENOENT ? Errc::not_found : Errc::not_runnable;
  if (error == ENOENT) failure.message = (name.empty() ? "''" : name) + ": command not found";
  return failure;
}

ExitStatus decode(int status) {
  if (WIFSIGNALED(status)) return {128 + WTERMSIG(status), WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

}  // namespace

Result<Child> Child::spawn(const Command& command, const sigset_t* mask) {
  const auto prepared = prepare(command);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error("pipe"));
  const Fd told(ends[0]);
  Fd report(ends[1]);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error("fork"));
  if (pid == 0) become(command, prepared, mask, parent, report.get());

  Child child(pid, command.own_group);
  report.reset();
  // End of file: the exec closed the pipe, and with that succeeded.
  Failure failure;
  const auto got = read_full(told.get(), std::as_writable_bytes(std::span(&failure, 1)), "pipe");
  if (!got) return fail(got.error());
  if (*got == 0) return child;
  [[maybe_unused]] const auto ended = child.wait(nullptr);
  if (failure.in_child) {
    auto error = system_error("prepare " + command.argv[0], failure.error);
    error.code = Errc::unsupported;
    return fail(std::move(error));
  }
  if (failure.in_directory) {
    auto error = system_error("run " + command.argv[0] + " in " + command.directory, failure.error);
    error.code = Errc::not_runnable;
    return fail(std::move(error));
  }
  return fail(exec_error(command.argv[0], failure.error));
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), leads_group_(other.leads_group_) {}

Child::~Child() {
  if (pid_ <= 0) return;
  send(SIGKILL);
  [[maybe_unused]] const auto ended = wait(nullptr);
}

void Child::send(int signal) const {
  if (pid_ > 0) ::kill(leads_group_ ? -pid_ : pid_, signal);
}

int Child::forward(const SignalTrap& trap) const {
  int request = 0;
  while (const auto caught = trap.take()) {
    // The terminal has sent it to our own group.
    if (!caught->from_kernel || leads_group_) send(caught->signal);
    if (is_request_to_end(caught->signal)) request = caught->signal;
  }
  return request;
}

Result<ExitStatus> Child::wait(const SignalTrap* trap) {
  if (trap != nullptr) {
    const Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    std::array<pollfd, 2> watched{{{ended.get(), POLLIN, 0}, {trap->descriptor(), POLLIN, 0}}};
    while (watched[0].revents == 0) {
      // Without pidfd_open (an old kernel or a strict sandbox) look each 10 ms.
      if (::poll(watched.data(), watched.size(), ended.valid() ? -1 : 10) < 0) {
        watched[0].revents = 0;
        if (errno != EINTR) break;
      }
      forward(*trap);
      siginfo_t info{};
      if (!ended.valid() &&
          ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid != 0) {
        break;
      }
    }
  }
  int status = 0;
  if (retry([&] { return ::waitpid(pid_, &status, 0); }) < 0) return fail(system_error("waitpid"));
  pid_ = -1;
  return decode(status);
}

Result<ExitStatus> run_command(const Command& command) {
  CACHECTL_ASSIGN(const auto trap, SignalTrap::create());
  CACHECTL_ASSIGN(auto child, Child::spawn(command, &trap.previous_mask()));
  return child.wait(&trap);
}

std::string shell_quoted(const std::vector<std::string>& argv) {
  std::string result;
  for (const auto& argument : argv) {
    if (!result.empty()) result += ' ';
    constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      result += argument;
      continue;
    }
    result += '\'';
    for (const char byte : argument) {
      if (byte == '\'') {
        result += "'\\''";
      } else {
        result += byte;
      }
    }
    result += '\'';
  }
  return result;
}

}  // namespace cachectl::lock
