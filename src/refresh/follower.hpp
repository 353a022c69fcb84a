// Follower: passes on what is written to a file, while it is being written.
//
// The leader's own output appears while its source still runs. But its consumer may be
// slow, a pager even, and the source and all who wait for its result must not wait for
// that. So the source is drained into the staged file at full speed, and a thread reads
// it back from there at the pace of the consumer. Memory is bounded by one block.
//
//   start --> following --advance*--> finish --> done
//                 `--the consumer went away or failed--> silent
//
// Thread rules: one thread calls; the follower's own thread only reads and writes its
// two descriptors.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "lock/result.hpp"

namespace cachectl::refresh {

class Follower {
 public:
  /// Copies the bytes from `offset` in `from` on to `to`. Both must stay open until
  /// finish. `name` of `to` is for messages.
  Follower(int from, std::uint64_t offset, int to, std::string name);
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;
  ~Follower();  // finishes

  /// `size` bytes more can be read.
  void advance(std::uint64_t size);

  /// Waits until all that can be read has been passed on. The error of the consumer, if
  /// it had one; it is EPIPE where the consumer went away.
  [[nodiscard]] Result<void> finish();

 private:
  void follow();

  int from_;
  std::uint64_t offset_;
  int to_;
  std::string name_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t available_ = 0;
  bool finished_ = false;
  std::optional<Error> error_;
  std::thread thread_;
};

}  // namespace cachectl::refresh
