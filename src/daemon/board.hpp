// Board: what a daemon says of itself to its workers, in memory that they share.
//
// Made before the fork. The daemon writes, the workers read; each number by itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "lock/result.hpp"

namespace cachectl::daemon {

enum class Stage { starting, ready, stopping };

struct Notice {
  std::atomic<Stage> stage = Stage::starting;
  std::atomic<std::uint64_t> entries = 0;
  std::atomic<std::uint64_t> failing = 0;  ///< of the entries, those whose last attempt failed
};
static_assert(std::atomic<Stage>::is_always_lock_free &&
              std::atomic<std::uint64_t>::is_always_lock_free);

class Board {
 public:
  [[nodiscard]] static Result<Board> create();

  [[nodiscard]] Notice& notice() const { return *notice_; }

 private:
  struct Unmap {
    void operator()(Notice* notice) const;
  };
  explicit Board(Notice* notice) : notice_(notice) {}
  std::unique_ptr<Notice, Unmap> notice_;
};

}  // namespace cachectl::daemon
