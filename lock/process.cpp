#include "lock/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "lock/child.hpp"
#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

/// The beginning of a file of /proc/PID; empty when there is no such process, or we may not know.
template <std::size_t kSize>
std::string_view read_proc(pid_t pid, std::string_view name, std::array<char, kSize>& buffer) {
  const auto path = "/proc/" + std::to_string(pid) + '/' + std::string(name);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  const auto got = read_full(file.get(), std::as_writable_bytes(std::span(buffer)), path);
  return {buffer.data(), got.value_or(0)};
}

/// A field of /proc/PID/stat that is a number, counted from 1 as proc(5) does, behind the
/// name; 0 when there is no such process, or we may not know.
std::uint64_t stat_field(pid_t pid, int number) {
  std::array<char, 1024> buffer;
  auto text = read_proc(pid, "stat", buffer);
  // The command name is in parentheses and may itself hold blanks and parentheses:
  // count fields from the last ')'. The one after it is field 3.
  const auto paren = text.rfind(')');
  if (paren == std::string_view::npos) return 0;
  text.remove_prefix(paren + 1);
  for (int field = 3; field <= number; ++field) {
    const auto blank = text.find_first_not_of(' ');
    if (blank == std::string_view::npos) return 0;
    text.remove_prefix(blank);
    if (field < number) text.remove_prefix(std::min(text.find(' '), text.size()));
  }
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

constexpr int kParent = 4;
constexpr int kStartTicks = 22;
constexpr int kArgumentStart = 48;

}  // namespace

std::uint64_t start_ticks_of(pid_t pid) { return stat_field(pid, kStartTicks); }

std::string command_line_of(pid_t pid) {
  std::array<char, 1024> buffer;  // longer ones are cut: it is for a person
  auto text = read_proc(pid, "cmdline", buffer);
  std::vector<std::string> words;
  while (!text.empty()) {
    const auto end = text.find('\0');
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return shell_quoted(words);
}

namespace {

/// A command that waits for the one that it was asked to run, and ends with it.
bool is_wrapper(pid_t pid) {
  constexpr std::array<std::string_view, 9> kWrappers{
      "timeout", "time", "xargs", "flock", "sudo", "doas", "runuser", "chronic", "cachectl"};
  std::array<char, 32> buffer;
  const auto text = read_proc(pid, "comm", buffer);
  return std::find(kWrappers.begin(), kWrappers.end(), text.substr(0, text.find('\n'))) !=
         kWrappers.end();
}

}  // namespace

pid_t calling_shell() {
  pid_t shell = ::getppid();
  // A /proc of another PID namespace has the same numbers for other processes.
  std::array<char, 16> self{};
  const auto length = ::readlink("/proc/self", self.data(), self.size() - 1);
  if (length <= 0 || std::to_string(::getpid()) != self.data()) return shell;
  while (true) {
    const auto parent = static_cast<pid_t>(stat_field(shell, kParent));
    if (parent <= 0) return shell;
    if (parent > 1 && is_wrapper(shell)) {
      shell = parent;
      continue;
    }
    const auto place = stat_field(shell, kArgumentStart);
    if (place == 0 || place != stat_field(parent, kArgumentStart)) return shell;
    shell = parent;
  }
}

Result<WatchedProcess> WatchedProcess::open(pid_t pid) {
  Fd descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (descriptor.valid()) return WatchedProcess(std::move(descriptor));
  const auto name = "process " + std::to_string(pid);
  if (errno == ESRCH || errno == EINVAL) return fail(Errc::usage, "there is no " + name);
  auto failure = system_error("watch " + name);
  if (failure.system_error == ENOSYS) failure.code = Errc::unsupported;
  return fail(std::move(failure));
}

bool WatchedProcess::has_ended() const {
  pollfd watched{descriptor_.get(), POLLIN, 0};
  return retry([&] { return ::poll(&watched, 1, 0); }) > 0;
}

namespace {

std::uint64_t own_pid_namespace() {
  struct stat status {};
  return ::stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

}  // namespace

const ProcessIdentity& ProcessIdentity::self() {
  // Per thread, so that no lock is needed; a forked child sees another PID and asks anew.
  static thread_local ProcessIdentity identity;
  if (const pid_t pid = ::getpid(); identity.pid != pid) {
    identity = {pid, start_ticks_of(pid), own_pid_namespace()};
  }
  return identity;
}

ProcessIdentity ProcessIdentity::of(pid_t pid) {
  return {pid, start_ticks_of(pid), self().pid_namespace};
}

Liveness liveness(const ProcessIdentity& process) {
  const auto& self = ProcessIdentity::self();
  if (process.pid_namespace != self.pid_namespace || process.pid <= 0) return Liveness::unknown;
  // Opened first: what is read then is of this process.
  const auto watched = WatchedProcess::open(process.pid);
  const auto ticks = start_ticks_of(process.pid);
  const bool same = ticks != 0 && ticks == process.start_ticks;
  // One that nobody has reaped still has its number and its start.
  return same && !(watched && watched->has_ended()) ? Liveness::alive : Liveness::gone;
}

}  // namespace cachectl::lock
