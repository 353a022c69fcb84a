#include "tests/cli/support.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include "lock/retry.hpp"

extern char** environ;

namespace cachectl::test {

namespace {

namespace fs = std::filesystem;

/// An open file without a name. Not memfd_create(2): processes that share such a
/// descriptor and write at once overwrite each other, because the kernel guards the
/// position only of files that were opened by name.
lock::Fd collector() {
  lock::Fd file(::open(fs::temp_directory_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) throw std::runtime_error("open a file without a name");
  return file;
}

std::string content(const lock::Fd& file) {
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return {};
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const auto got =
      lock::read_full_at(file.get(), std::as_writable_bytes(std::span(text)), 0, "collected");
  text.resize(got.value_or(0));
  return text;
}

std::vector<std::string> environment_of(const Program& program) {
  const auto name = [](const std::string& entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool dropped = name(*entry).starts_with("CACHECTL_");
    for (const auto& change : program.environment) dropped |= name(change) == name(*entry);
    if (!dropped) result.emplace_back(*entry);
  }
  for (const auto& change : program.environment) {
    if (change.find('=') != std::string::npos) result.push_back(change);
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

[[noreturn]] void become(const Program& program, char** argv, char** environment, int input,
                         int output, int errors) {
  ::setpgid(0, 0);
  bool ready = program.directory.empty() || ::chdir(program.directory.c_str()) == 0;
  ready = ready && ::dup2(input, STDIN_FILENO) >= 0 && ::dup2(output, STDOUT_FILENO) >= 0 &&
          ::dup2(errors, STDERR_FILENO) >= 0;
  if (program.close_output) ::close(STDOUT_FILENO);
  ::signal(SIGPIPE, SIG_DFL);
  if (ready) ::execvpe(argv[0], argv, environment);
  ::_exit(255);
}

}  // namespace

const char* binary() {
  const char* other = ::getenv("CACHECTL_TEST_BINARY");
  return other != nullptr ? other : CACHECTL_BINARY;
}

bool is_sanitized() { return ::getenv("CACHECTL_TEST_BINARY") != nullptr; }

Running::Running(const Program& program) {
  auto arguments = program.argv;
  auto variables = environment_of(program);
  auto argv = pointers(arguments);
  auto environment = pointers(variables);
  if (program.output_to < 0) output_ = collector();
  if (program.errors_to < 0) errors_ = collector();
  const lock::Fd input = collector();
  if (!lock::write_all_at(input.get(), lock::bytes_of(program.input), 0, "input")) {
    throw std::runtime_error("cannot write the input");
  }
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    become(program, argv.data(), environment.data(),
           program.input_from < 0 ? input.get() : program.input_from,
           program.output_to < 0 ? output_.get() : program.output_to,
           program.errors_to < 0 ? errors_.get() : program.errors_to);
  }
  ::setpgid(pid_, pid_);  // here too: the child may not have come so far
}

Running::Running(Running&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::move(other.output_)),
      errors_(std::move(other.errors_)) {}

Running::~Running() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  int status = 0;
  lock::retry([&] { return ::waitpid(pid_, &status, 0); });
}

std::string Running::output() const { return content(output_); }
std::string Running::errors() const { return content(errors_); }

bool Running::has_ended() const {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid != 0;
}

void Running::send(int signal) const { ::kill(pid_, signal); }

void Running::stop() const {
  send(SIGSTOP);
  siginfo_t info{};
  lock::retry([&] { return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOWAIT); });
}

Outcome Running::wait(std::chrono::milliseconds patience) {
  const lock::Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd watched{ended.get(), POLLIN, 0};
  const int timeout = static_cast<int>(patience.count());
  if (lock::retry([&] { return ::poll(&watched, 1, timeout); }) == 0) {
    ::kill(-pid_, SIGKILL);
    throw std::runtime_error("it did not end; it said: " + errors());
  }
  int status = 0;
  struct rusage usage {};
  if (lock::retry([&] { return ::wait4(pid_, &status, 0, &usage); }) < 0) {
    throw std::runtime_error("wait4");
  }
  pid_ = -1;
  Outcome outcome;
  outcome.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  outcome.output = output();
  outcome.errors = errors();
  outcome.peak_kib = usage.ru_maxrss;
  return outcome;
}

Outcome run(const Program& program) { return Running(program).wait(); }

Sandbox::Sandbox() {
  fs::create_directory(file("home"));
  fs::create_directory(file("work"));
}

Program Sandbox::program(std::vector<std::string> argv) const {
  Program result;
  result.argv = std::move(argv);
  result.directory = file("work");
  result.environment = {"HOME=" + file("home"),
                        "XDG_CACHE_HOME",
                        "XDG_CONFIG_HOME",
                        "CACHECTL_ROOT=" + root(),
                        std::string("cachectl=") + binary(),
                        "LC_ALL=C"};
  return result;
}

Program Sandbox::cachectl(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), binary());
  return program(std::move(arguments));
}

Program Sandbox::shell(const std::string& script) const { return program({"sh", "-c", script}); }

std::string Sandbox::script(std::string_view name, std::string_view text) const {
  const auto path = file(name);
  write_file(path, "#!/bin/sh\n" + std::string(text));
  fs::permissions(path, fs::perms::owner_all);
  return path;
}

std::vector<std::string> Sandbox::staged() const {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& item : fs::directory_iterator(root() + "/tmp", missing)) {
    names.push_back(item.path().filename());
  }
  return names;
}

void configure(const Sandbox& sandbox, std::string_view text) {
  write_file(sandbox.file("work/cachectl.toml"), text);
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

bool waits_for_lock(pid_t pid) {
  try {
    return content_of("/proc/" + std::to_string(pid) + "/syscall")
        .starts_with(std::to_string(SYS_fcntl) + " ");
  } catch (const std::runtime_error&) {
    return false;
  }
}

bool is_one_message(std::string_view text) {
  return text.starts_with("cachectl: ") && text.find('\n') == text.size() - 1;
}

}  // namespace cachectl::test
