#include "src/tree/workers.hpp"

#include <algorithm>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "lock/signals.hpp"

namespace cachectl::tree {

unsigned thread_count(unsigned asked) {
  constexpr unsigned kMost = 8;
  if (asked != 0) return std::min(asked, 64U);
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMost);
}

unsigned threads_for(std::uint64_t files, std::uint64_t bytes, unsigned asked) {
  // A thread costs some 50 µs to start and end, as much as ten files or 100 KiB.
  const auto worth = std::max(files / 32, bytes / (1024 * 1024));
  const auto most = std::clamp<std::uint64_t>(std::min(worth, files), 1, thread_count(asked));
  return static_cast<unsigned>(most);
}

Share::Part Share::take(std::size_t most) {
  // Beyond the end only by what the threads take once more each.
  const auto first = next_.load() < count_ ? next_.fetch_add(most) : count_;
  if (first >= count_) return {};
  return {first, std::min(count_, first + most)};
}

Result<void> run_workers(unsigned threads, Share& share,
                         const std::function<Result<void>()>& work) {
  std::mutex mutex;
  std::optional<Error> error;
  const auto run = [&] {
    auto result = work();
    if (result) return;
    share.stop();
    const std::lock_guard guard(mutex);
    if (!error) error = std::move(result).error();
  };
  std::vector<std::thread> others;
  {
    const lock::SignalsBlocked blocked;
    try {
      for (unsigned i = 1; i < threads; ++i) others.emplace_back(run);
    } catch (const std::system_error&) {
      // No more threads are to be had: those that there are do it.
    }
  }
  run();
  for (auto& other : others) other.join();
  if (error) return fail(std::move(*error));
  return {};
}

}  // namespace cachectl::tree
