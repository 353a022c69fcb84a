#include "src/pool/queue.hpp"

#include <time.h>

#include "lock/range_query.hpp"

namespace cachectl::pool {

namespace {

constexpr std::uint64_t kBase = std::uint64_t{1} << 62U;

std::uint64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return kBase + static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

/// A byte of [kBase, end) that somebody else has locked; nullopt: none is.
Result<std::optional<std::uint64_t>> locked_below(int file, std::uint64_t end) {
  CACHECTL_ASSIGN(const auto lock,
                  lock::locked_by_others(file, {kBase, end - kBase}, "the queue of the pool"));
  return lock ? std::optional(lock->start) : std::nullopt;
}

constexpr std::uint64_t kEnd = kBase + (std::uint64_t{1} << 61U);

}  // namespace

Result<bool> somebody_waits(int file) {
  CACHECTL_ASSIGN(const auto locked, locked_below(file, kEnd));
  return locked.has_value();
}

Result<Ticket> Ticket::draw(lock::FileLock file) {
  while (true) {
    const auto at = now();
    CACHECTL_ASSIGN(const bool mine,
                    file.lock({at, 1}, lock::Mode::exclusive, lock::Deadline::immediately()));
    if (mine) return Ticket(std::move(file), at);
  }
}

Result<bool> Ticket::wait_until_first(const lock::Deadline& deadline) {
  while (true) {
    CACHECTL_ASSIGN(const auto before, locked_below(file_.descriptor(), at_));
    if (!before) return true;
    const lock::Range theirs{*before, 1};
    // Shared: those behind me sleep on my own byte.
    CACHECTL_ASSIGN(const bool gone, file_.lock(theirs, lock::Mode::shared, deadline));
    if (!gone) return false;
    CACHECTL_TRY(file_.unlock(theirs));
  }
}

}  // namespace cachectl::pool
