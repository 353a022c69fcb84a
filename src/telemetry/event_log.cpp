#include "src/telemetry/event_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "lock/fd.hpp"
#include "lock/retry.hpp"
#include "src/key.hpp"
#include "src/telemetry/json_line.hpp"

namespace cachectl::telemetry {

namespace {

/// RFC 3339, in UTC.
std::string now_text() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm date{};
  ::gmtime_r(&now.tv_sec, &date);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", date.tm_year + 1900,
                     date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec,
                     now.tv_nsec);
}

JsonLine begin(std::string_view event) {
  JsonLine line;
  line.put("time", now_text());
  line.put("pid", static_cast<std::int64_t>(::getpid()));
  line.put("event", event);
  return line;
}

std::string line_of(const Happening& what) {
  auto line = begin(name_of(what.what));
  if (!what.key.empty()) {
    line.put("key", what.key);
    if (const auto key = Key::from(std::string(what.key))) line.put("entry", key->hash().hex());
  }
  line.put("duration", what.duration);
  line.put("status", static_cast<std::int64_t>(what.status));
  line.put("generation", what.generation);
  line.put("bytes", what.bytes);
  return std::move(line).finish();
}

/// What another user could have put in its place.
Result<void> check(const std::string& path, const struct stat& file, mode_t mode) {
  const bool is_shared = (mode & S_IRWXG) != 0;
  const char* why = nullptr;
  if (!S_ISREG(file.st_mode)) {
    why = "is no plain file";
  } else if (file.st_nlink > 1) {
    why = "has a second name";
  } else if (file.st_uid != ::geteuid() && !is_shared) {
    why = "belongs to another user";
  }
  if (why == nullptr) return {};
  return fail(Errc::refused, path + ": " + why, "set events.file to one that is the cache's alone");
}

lock::Fd open_log(const std::string& path, int flags, mode_t mode) {
  // Not to wait for the reader of a pipe that lies there.
  return lock::Fd(lock::retry([&] {
    return ::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
  }));
}

Error cannot_open(const std::string& path) {
  if (errno == ELOOP) {
    return {Errc::refused, ELOOP, "open " + path + ": it is a symbolic link",
            "set events.file to the file itself"};
  }
  return system_error("open " + path);
}

}  // namespace

bool is_event(What what) {
  return what != What::hit && what != What::stale_hit && what != What::miss;
}

void EventLog::opened(const lock::Directory&, mode_t file_mode) { mode_ = file_mode; }

Result<void> EventLog::try_append(const std::string& line) const {
  while (true) {
    const auto file = open_log(path_, O_WRONLY | O_APPEND | O_CREAT, mode_);
    if (!file.valid()) return fail(cannot_open(path_));
    CACHECTL_ASSIGN(const struct stat before, lock::status_of(file.get(), path_));
    CACHECTL_TRY(check(path_, before, mode_));
    const auto written = lock::retry([&] { return ::write(file.get(), line.data(), line.size()); });
    if (written < 0) return fail(system_error("write " + path_));
    if (static_cast<std::size_t>(written) != line.size()) {
      return fail(Errc::io, "write " + path_ + ": no room for all of an event");
    }
    // Rotated away twice since it was opened: nobody would ever read it there.
    CACHECTL_ASSIGN(const struct stat after, lock::status_of(file.get(), path_));
    if (after.st_nlink > 0) return {};
  }
}

void EventLog::happened(const Happening& what) {
  if (is_event(what.what)) append(line_of(what));
}

void EventLog::counted(const Report& report) const {
  const auto total = report.total();
  auto line = begin("counted");
  line.put("hits", total.of(Counter::hits) + total.of(Counter::stale_hits));
  line.put("misses", total.of(Counter::misses));
  append(std::move(line).finish());
}

void EventLog::append(const std::string& line) const {
  auto appended = try_append(line);
  if (!appended && warn_) warn_(std::move(appended).error().within("an event was not logged"));
}

Result<bool> rotate(const std::string& path, std::uint64_t max_size) {
  const auto file = open_log(path, O_RDONLY, 0);
  if (!file.valid() && errno == ENOENT) return false;
  if (!file.valid()) return fail(cannot_open(path));
  CACHECTL_ASSIGN(const struct stat status, lock::status_of(file.get(), path));
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) <= max_size) {
    return false;
  }
  // Of this file, whatever its name is: who comes second finds that it has another by now.
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
  struct stat named {};
  if (::lstat(path.c_str(), &named) != 0) return false;
  if (!lock::same_file(named, status)) return false;
  if (::rename(path.c_str(), (path + ".1").c_str()) != 0)
    return fail(system_error("rename " + path));
  return true;
}

}  // namespace cachectl::telemetry
