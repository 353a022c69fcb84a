#include "src/refresh/follower.hpp"

#include <system_error>
#include <utility>

#include "lock/signals.hpp"
#include "src/store/copy.hpp"

namespace cachectl::refresh {

Follower::Follower(int from, std::uint64_t offset, int to, std::string name)
    : from_(from), offset_(offset), to_(to), name_(std::move(name)) {
  // Signals are for the thread that supervises the source.
  const lock::SignalsBlocked blocked;
  try {
    thread_ = std::thread([this] { follow(); });
  } catch (const std::system_error&) {
    // No thread is to be had, under a limit on processes for instance: the consumer gets
    // everything in the end, when finish follows.
  }
}

Follower::~Follower() { [[maybe_unused]] const auto finished = finish(); }

void Follower::advance(std::uint64_t size) {
  const std::lock_guard guard(mutex_);
  available_ += size;
  changed_.notify_one();
}

Result<void> Follower::finish() {
  bool again = false;
  {
    const std::lock_guard guard(mutex_);
    again = std::exchange(finished_, true);
    changed_.notify_one();
  }
  if (thread_.joinable()) {
    thread_.join();
  } else if (!again) {
    follow();
  }
  if (error_) return fail(*error_);
  return {};
}

void Follower::follow() {
  std::uint64_t done = 0;
  std::unique_lock guard(mutex_);
  while (true) {
    changed_.wait(guard, [&] { return available_ > done || finished_; });
    const auto size = available_ - done;
    if (size == 0) return;
    guard.unlock();
    auto copied = store::copy_range(from_, offset_ + done, size, to_, "staged value", name_);
    guard.lock();
    if (!copied) {
      error_ = std::move(copied).error();
      return;
    }
    done += size;
  }
}

}  // namespace cachectl::refresh
