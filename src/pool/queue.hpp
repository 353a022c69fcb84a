// Queue: those who wait for a slot of a pool, in the order in which they came.
//
// Byte-range locks of one file, so that the kernel removes whoever dies:
//
//   byte t, t = 2^62 + nanoseconds since the machine started
//
// Who comes takes the byte of the moment, his ticket, and holds it while he waits. He is
// the first when no byte below it is locked; until then he sleeps on one that is (the
// kernel tells which) and looks again. It does not matter who dies or gives up in between:
// the byte is free then.
#pragma once

#include <optional>

#include "lock/file_lock.hpp"

namespace cachectl::pool {

/// Whether anybody waits. `file` is a descriptor of the pool's lock file.
[[nodiscard]] Result<bool> somebody_waits(int file);

/// A place in the queue; left when it goes out of scope.
class Ticket {
 public:
  /// Takes over an open description of the pool's lock file, opened for this alone.
  [[nodiscard]] static Result<Ticket> draw(lock::FileLock file);

  /// Waits until all who came before are gone; false: the deadline passed.
  [[nodiscard]] Result<bool> wait_until_first(const lock::Deadline& deadline);

 private:
  Ticket(lock::FileLock file, std::uint64_t at) : file_(std::move(file)), at_(at) {}
  lock::FileLock file_;
  std::uint64_t at_;
};

}  // namespace cachectl::pool
