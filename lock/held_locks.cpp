#include "lock/held_locks.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "lock/mount.hpp"
#include "lock/number.hpp"

namespace cachectl::lock {

namespace {

/// A line of /proc/locks, or behind "lock:" in a fdinfo:
///   1: OFDLCK ADVISORY  WRITE -1 fe:00:10953075 5 5
///   1: -> OFDLCK ADVISORY  READ -1 fe:00:10953075 5 EOF
struct Line {
  bool waits = false;
  Mode mode = Mode::exclusive;
  pid_t pid = -1;
  std::string file;  ///< "fe:00:10953075"
  Range range;
  bool operator==(const Line&) const = default;
};

std::optional<Line> parse_line(const std::string& text) {
  std::istringstream words(text);
  std::string number;
  std::string kind;
  std::string how;
  std::string mode;
  std::string start;
  std::string end;
  Line line;
  if (!(words >> number >> kind)) return std::nullopt;
  if (kind == "->") {
    line.waits = true;
    words >> kind;
  }
  if (!(words >> how >> mode >> line.pid >> line.file >> start >> end)) return std::nullopt;
  if (kind != "OFDLCK" && kind != "POSIX") return std::nullopt;
  line.mode = mode == "READ" ? Mode::shared : Mode::exclusive;
  std::uint64_t last = 0;
  if (!parse_number(start, line.range.start)) return std::nullopt;
  if (end != "EOF") {
    if (!parse_number(end, last) || last < line.range.start) return std::nullopt;
    line.range.length = last - line.range.start + 1;
  }
  return line;
}

/// Calls `visit` with the name of each entry of a directory of /proc that is a number.
void each_number(const std::string& directory,
                 const std::function<void(const std::string&)>& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(directory.c_str()), ::closedir);
  if (!listing) return;
  while (const dirent* item = ::readdir(listing.get())) {
    if (item->d_name[0] >= '0' && item->d_name[0] <= '9') visit(item->d_name);
  }
}

/// Calls `visit(pid, "/proc/PID/fd/N")` for each open file whose path ends in `tail`. The
/// paths are only read: to look at the files of others could wait for their file systems.
void each_user(
    std::string_view tail,
    const std::function<void(pid_t, const std::string& process, const std::string& fd)>& visit) {
  each_number("/proc", [&](const std::string& pid) {
    const auto process = "/proc/" + pid;
    each_number(process + "/fd", [&](const std::string& fd) {
      std::array<char, PATH_MAX> target;
      const auto size = ::readlink((process + "/fd/" + fd).c_str(), target.data(), target.size());
      pid_t number = 0;
      if (size <= 0 || !parse_number(pid, number)) return;
      if (std::string_view(target.data(), static_cast<std::size_t>(size)).ends_with(tail)) {
        visit(number, process, fd);
      }
    });
  });
}

bool overlap(const Range& a, const Range& b) {
  const auto end = [](const Range& range) {
    return range.length == 0 ? UINT64_MAX : range.start + range.length;
  };
  return a.start < end(b) && b.start < end(a);
}

void add(std::vector<pid_t>& pids, pid_t pid) {
  if (std::find(pids.begin(), pids.end(), pid) == pids.end()) pids.push_back(pid);
}

/// The range for which a process waits that sleeps in fcntl(2) on its descriptor `fd`.
std::optional<Range> awaited(pid_t pid, const std::string& process, const std::string& fd) {
  // "72 0x5 0x26 0x7ffdb2192f50 ..."
  std::istringstream words(read_proc(process + "/syscall"));
  long call = -1;
  std::uint64_t descriptor = 0;
  std::uint64_t command = 0;
  std::uint64_t address = 0;
  if (!(words >> call >> std::hex >> descriptor >> command >> address)) return std::nullopt;
  if (call != SYS_fcntl || std::to_string(descriptor) != fd ||
      (command != F_OFD_SETLKW && command != F_SETLKW)) {
    return std::nullopt;
  }
  struct flock wanted {};
  const iovec here{&wanted, sizeof wanted};
  // An address of another process, never one of ours.
  const iovec there{reinterpret_cast<void*>(address), sizeof wanted};  // NOLINT
  if (::process_vm_readv(pid, &here, 1, &there, 1, 0) != static_cast<ssize_t>(sizeof wanted)) {
    return std::nullopt;
  }
  return Range{static_cast<std::uint64_t>(wanted.l_start),
               static_cast<std::uint64_t>(wanted.l_len)};
}

/// "fe:00:10953075", as /proc/locks calls the file.
Result<std::string> name_in_proc(int descriptor, std::string_view name) {
  const auto mount = mount_of(descriptor);
  if (!mount) return fail(Errc::unsupported, "/proc does not tell of what is open");
  CACHECTL_ASSIGN(const struct stat status, status_of(descriptor, name));
  // The kernel's own number, where a file system shows another one to programs.
  const auto inode = descriptor_info(descriptor, "ino").value_or(status.st_ino);
  return fmt::format("{}:{}", mount->device, inode);
}

std::vector<Line> look_at_lines_of(const std::string& file) {
  std::vector<Line> found;
  std::istringstream lines(read_proc("/proc/locks"));
  for (std::string text; std::getline(lines, text);) {
    auto line = parse_line(text);
    if (line && line->file == file) found.push_back(std::move(*line));
  }
  return found;
}

/// The lines of /proc/locks that are of a file. The kernel lists the locks of the whole machine
/// page by page, and each that comes or goes meanwhile moves the others, so that one is missing or
/// there twice: what three looks agree on. (Where 2 processors did nothing but lock, one look in
/// four was wrong, and two in a row agreed on something wrong one time in twenty.)
std::vector<Line> lines_of(const std::string& file) {
  constexpr int kEnough = 3;
  constexpr int kMost = 20;
  std::vector<std::pair<std::vector<Line>, int>> seen;
  for (int look = 0;; ++look) {
    auto lines = look_at_lines_of(file);
    auto same =
        std::find_if(seen.begin(), seen.end(), [&](const auto& one) { return one.first == lines; });
    if (same == seen.end()) same = seen.insert(same, {std::move(lines), 0});
    if (++same->second == kEnough || look == kMost) return std::move(same->first);
  }
}

}  // namespace

Result<std::vector<HeldRange>> held_ranges(int descriptor, std::string_view name) {
  CACHECTL_ASSIGN(const auto file, name_in_proc(descriptor, name));
  CACHECTL_ASSIGN(const struct stat ours, status_of(descriptor, name));
  std::vector<HeldRange> held;
  HeldRange* last = nullptr;  // those who wait for a lock stand behind it
  for (const auto& line : lines_of(file)) {
    if (line.waits) {
      if (last != nullptr) ++last->waiting;
      continue;
    }
    const auto same = std::find_if(held.begin(), held.end(), [&](const HeldRange& other) {
      return other.range == line.range;
    });
    last = &*(same == held.end() ? held.insert(same, HeldRange{line.range, line.mode, {}, 0, {}})
                                 : same);  // several may share it
    if (line.pid > 0) add(last->holders, line.pid);
  }
  if (held.empty()) return held;
  each_user(
      "/" + std::string(name), [&](pid_t pid, const std::string& process, const std::string& fd) {
        struct stat status {};
        if (::stat((process + "/fd/" + fd).c_str(), &status) != 0 || !same_file(status, ours)) {
          return;
        }
        std::istringstream info(read_proc(process + "/fdinfo/" + fd));
        for (std::string text; std::getline(info, text);) {
          if (!text.starts_with("lock:")) continue;
          const auto line = parse_line(text.substr(5));
          for (auto& each : held) {
            if (line && overlap(each.range, line->range)) add(each.holders, pid);
          }
        }
        const auto wanted = awaited(pid, process, fd);
        for (auto& each : held) {
          if (wanted && each.waiting > 0 && overlap(each.range, *wanted)) add(each.waiters, pid);
        }
      });
  std::sort(held.begin(), held.end(),
            [](const HeldRange& a, const HeldRange& b) { return a.range.start < b.range.start; });
  return held;
}

std::vector<pid_t> users_of_removed(std::string_view path) {
  std::vector<pid_t> users;
  each_user(std::string(path) + " (deleted)",
            [&](pid_t pid, const std::string&, const std::string&) { add(users, pid); });
  return users;
}

}  // namespace cachectl::lock
