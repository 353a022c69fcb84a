#include "src/daemon/instance.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "lock/number.hpp"
#include "lock/range_query.hpp"
#include "lock/retry.hpp"

namespace cachectl::daemon {

namespace {

constexpr std::size_t kLongestNote = 100;

/// "pid 812, since 2026-11-21T22:41:00Z".
std::string own_note() {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(day);
  const auto of_day = (now - day).count();
  return fmt::format("pid {}, since {:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z\n", ::getpid(),
                     static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), of_day / 3600, of_day / 60 % 60,
                     of_day % 60);
}

/// Without it (a full disk) nothing is lost but a name.
void leave_note(int descriptor) {
  const auto note = own_note();
  if (lock::write_all_at(descriptor, lock::bytes_of(note), 0, "note")) {
    [[maybe_unused]] const int cut = ::ftruncate(descriptor, static_cast<off_t>(note.size()));
  }
}

/// ": pid 812, since ...", or nothing.
std::string note_in(int descriptor) {
  std::array<char, kLongestNote> buffer{};
  const auto size =
      lock::read_full_at(descriptor, std::as_writable_bytes(std::span(buffer)), 0, "note");
  if (!size) return {};
  const std::string text(buffer.data(), *size);
  const auto line = text.substr(0, text.find('\n'));
  return line.starts_with("pid ") ? ": " + line : std::string();
}

}  // namespace

Result<Instance> Instance::claim(const lock::Directory& directory, mode_t mode) {
  while (true) {
    CACHECTL_ASSIGN(auto opened, directory.open_file(kFile, O_RDWR | O_CREAT, mode));
    // Another user's, in a shared cache, has its mode already.
    if (lock::retry([&] { return ::fchmod(opened.get(), mode); }) != 0 && errno != EPERM) {
      return fail(system_error("chmod " + directory.path_of(kFile)));
    }
    lock::FileLock file(std::move(opened), directory.path_of(kFile));
    CACHECTL_ASSIGN(const bool held,
                    file.lock({0, 0}, lock::Mode::exclusive, lock::Deadline::immediately()));
    if (!held) {
      return fail(Errc::refused,
                  "another daemon has " + directory.path() + note_in(file.descriptor()),
                  "stop it, or use another root");
    }
    Instance instance(std::move(file));
    if (!instance.holds(directory)) continue;  // removed meanwhile
    leave_note(instance.file_.descriptor());
    return instance;
  }
}

Result<std::optional<Instance::Other>> Instance::find(const lock::Directory& directory) {
  CACHECTL_ASSIGN(auto opened, directory.open_if_exists(kFile, O_RDONLY | O_NONBLOCK));
  if (!opened) return std::optional<Other>();
  const lock::FileLock file(std::move(*opened), directory.path_of(kFile));
  CACHECTL_ASSIGN(const auto held, lock::locked_by_others(file.descriptor(), {0, 0}, file.path()));
  if (!held) return std::optional<Other>();
  Other other;
  // ": pid 812, since 2026-11-21T22:41:00Z"
  const auto note = note_in(file.descriptor());
  constexpr std::string_view kPid = ": pid ";
  constexpr std::string_view kSince = ", since ";
  if (const auto comma = note.find(kSince); comma != std::string::npos) {
    if (parse_number(note.substr(kPid.size(), comma - kPid.size()), other.pid)) {
      other.since = note.substr(comma + kSince.size());
    }
  }
  return std::optional(std::move(other));
}

bool Instance::holds(const lock::Directory& directory) const {
  const auto named = directory.status(kFile);
  const auto ours = lock::status_of(file_.descriptor(), file_.path());
  return named && *named && ours && lock::same_file(**named, *ours);
}

}  // namespace cachectl::daemon
