#include "lock/process.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "lock/fd.hpp"

namespace cachectl::lock {

std::uint64_t start_ticks_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return 0;
  std::array<char, 1024> buffer;
  const auto got = read_full(file.get(), std::as_writable_bytes(std::span(buffer)), path);
  if (!got) return 0;
  std::string_view text(buffer.data(), *got);
  // The command name is in parentheses and may itself hold blanks and parentheses:
  // count fields from the last ')'. The one after it is field 3.
  const auto paren = text.rfind(')');
  if (paren == std::string_view::npos) return 0;
  text.remove_prefix(paren + 1);
  for (int field = 3; field <= 22; ++field) {
    const auto blank = text.find_first_not_of(' ');
    if (blank == std::string_view::npos) return 0;
    text.remove_prefix(blank);
    if (field < 22) text.remove_prefix(std::min(text.find(' '), text.size()));
  }
  std::uint64_t ticks = 0;
  std::from_chars(text.data(), text.data() + text.size(), ticks);
  return ticks;
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

Liveness liveness(const ProcessIdentity& process) {
  const auto& self = ProcessIdentity::self();
  if (process.pid_namespace != self.pid_namespace || process.pid <= 0) return Liveness::unknown;
  const auto ticks = start_ticks_of(process.pid);
  return ticks != 0 && ticks == process.start_ticks ? Liveness::alive : Liveness::gone;
}

}  // namespace cachectl::lock
