// Workers: the same work in several threads, until all is done or one fails.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "lock/result.hpp"

namespace cachectl::tree {

/// 0 becomes the number of processors, up to 8.
[[nodiscard]] unsigned thread_count(unsigned asked);

/// As many of them as are worth it for so many files and bytes.
[[nodiscard]] unsigned threads_for(std::uint64_t files, std::uint64_t bytes, unsigned asked);

/// What is left to do: hands out the numbers below `count`, some at a time.
class Share {
 public:
  explicit Share(std::size_t count) : count_(count) {}

  struct Part {
    std::size_t first = 0;
    std::size_t end = 0;
  };
  /// Neighbours go to one thread: they are in one directory, which it has open, and whose
  /// lock it does not have to wait for. An empty part: nothing is left, or somebody failed.
  [[nodiscard]] Part take(std::size_t most = 32);

  /// Nothing more is handed out.
  void stop() { next_ = count_; }

 private:
  std::size_t count_;
  std::atomic<std::size_t> next_ = 0;
};

/// Runs `work` in as many threads, the caller's among them, and returns the first error.
/// `work` takes from `share`, which is stopped by an error.
[[nodiscard]] Result<void> run_workers(unsigned threads, Share& share,
                                       const std::function<Result<void>()>& work);

}  // namespace cachectl::tree
