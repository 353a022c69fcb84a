// The Linux backend of FileLock: open-file-description locks.
#include <fcntl.h>
#include <time.h>

#include <cerrno>

#include "lock/backoff.hpp"
#include "lock/file_lock.hpp"

namespace cachectl::lock {

const Backend backend = {
    .name = "ofd", .ranges = true, .survives_close = true, .inheritable = true};

struct FileLock::Impl {};

FileLock::FileLock(Fd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
FileLock::FileLock(FileLock&&) noexcept = default;
FileLock& FileLock::operator=(FileLock&&) noexcept = default;
FileLock::~FileLock() = default;

namespace {

struct flock describe(Range range, short type) {
  struct flock what {};
  what.l_type = type;
  what.l_whence = SEEK_SET;
  what.l_start = static_cast<off_t>(range.start);
  what.l_len = static_cast<off_t>(range.length);
  return what;
}

enum class Attempt { held, busy, interrupted, failed };

Attempt attempt(int descriptor, int command, struct flock what) {
  if (::fcntl(descriptor, command, &what) == 0) return Attempt::held;
  switch (errno) {
    case EAGAIN:
    case EACCES:
      return Attempt::busy;
    case EINTR:
      return Attempt::interrupted;
    default:
      return Attempt::failed;
  }
}

}  // namespace

Result<bool> FileLock::lock(Range range, Mode mode, const Deadline& deadline) {
  const auto what = describe(range, mode == Mode::exclusive ? F_WRLCK : F_RDLCK);
  const auto failure = [&] { return fail(system_error("lock " + path_)); };

  // The free lock is the common case: no timer for it.
  Attempt outcome;
  do {
    outcome = attempt(file_.get(), F_OFD_SETLK, what);
  } while (outcome == Attempt::interrupted);
  if (outcome == Attempt::held) return true;
  if (outcome == Attempt::failed) return failure();
  if (deadline.is_immediate()) return false;

  InterruptAt interrupt(deadline);
  Backoff backoff;
  while (!deadline.passed()) {
    interrupt.goes_on();
    outcome = attempt(file_.get(), interrupt.armed() ? F_OFD_SETLKW : F_OFD_SETLK, what);
    if (outcome == Attempt::held) return true;
    if (outcome == Attempt::failed) return failure();
    if (outcome == Attempt::busy) backoff.sleep();  // no timer was to be had: poll
  }
  return false;
}

Result<void> FileLock::unlock(Range range) {
  while (attempt(file_.get(), F_OFD_SETLK, describe(range, F_UNLCK)) != Attempt::held) {
    if (errno != EINTR) return fail(system_error("unlock " + path_));
  }
  return {};
}

}  // namespace cachectl::lock
