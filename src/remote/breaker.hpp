// Breaker: after some failures in a row a server is left alone for a while, by all processes of
// this machine that share the cache.
//
//   closed --5 failures in a row--> open --cool-down is over--> half-open: one process tries
//     ^                               ^                             |        |
//     `--------- success -------------|-----------------------------'        |
//                                     `------------- failure, or it died ----'
//
// The cool-down is 1 s, doubled with each failed trial up to 30 s, of which half is drawn at
// random. The one that tries puts the end of the cool-down off by what a trial may take, in the
// instruction that claims it: should it die, the next one tries after that.
//
//   ROOT/redis.state, 4096 bytes that every process has mapped: 64 rows of 64 bytes; numbers in the
//   order of this machine. The first row has the magic "ccbreak2" and zeros. Any other is of one
//   server, which takes the first that is free from the place on that its name hashes to:
//
//   offset size
//        0    8  XXH3-64 of the server's name; 0: free
//        8    8  failures in a row
//       16    8  when the next trial may be, on CLOCK_MONOTONIC; 0: closed
//       24    8  trials that have failed in a row
//       32   32  zero
//
// Nobody frees a row: a server that finds none within eight takes over the first of them.
//
// It holds hints and no truth: a file that is missing, cut short or no such file is replaced, one
// that cannot be had is done without (each process then has a breaker of its own), and a time
// from before the machine was started anew counts as past. The file is looked at by its name
// before each use (fstatat, 0.3 us), so that nobody goes on with one that was removed.
//
// Thread-safe. Fork: may be used by the child.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "lock/mapped_file.hpp"

namespace cachectl::remote {

class Breaker {
 public:
  static constexpr const char* kName = "redis.state";
  static constexpr std::uint64_t kFailures = 5;
  static constexpr std::chrono::nanoseconds kFirstCoolDown = std::chrono::seconds(1);
  static constexpr std::chrono::nanoseconds kLongestCoolDown = std::chrono::seconds(30);

  enum class Verdict {
    pass,     ///< ask the server
    trial,    ///< likewise, and nobody else does now
    refused,  ///< leave it alone
  };

  /// `root` must outlive it. `trial`: the longest that one may take. Nothing is opened yet.
  Breaker(const lock::Directory& root, mode_t file_mode, std::chrono::nanoseconds trial,
          std::string_view server);
  Breaker(const Breaker&) = delete;
  Breaker& operator=(const Breaker&) = delete;

  [[nodiscard]] Verdict ask();
  /// The server has answered. True: this closed it.
  bool succeeded();
  /// It has not. True: this opened it.
  bool failed(Verdict verdict);
  /// Its state at one moment, for people: nothing is made or mapped.
  struct Look {
    bool is_open = false;
    std::uint64_t failures = 0;        ///< in a row
    std::chrono::nanoseconds left{0};  ///< until the next trial; zero: closed, or due
  };
  [[nodiscard]] static Look look(const lock::Directory& root, std::string_view name);

  /// How long until the next trial; zero: closed, or due.
  [[nodiscard]] std::chrono::nanoseconds left();

 private:
  static constexpr std::size_t kWords = 8;  // of a row
  enum class Place { free, taken };

  using Word = lock::MappedFile::Word;
  struct State {
    Word failures;
    Word until;
    Word trials;
  };
  [[nodiscard]] State state();
  [[nodiscard]] static std::size_t row_at(std::uint64_t server, std::size_t probe);
  [[nodiscard]] std::size_t row_in(const lock::MappedFile& file) const;
  [[nodiscard]] const lock::MappedFile* mapped();
  [[nodiscard]] std::unique_ptr<lock::MappedFile> map() const;
  [[nodiscard]] bool make(Place place) const;

  const lock::Directory* root_;
  mode_t file_mode_;
  std::chrono::nanoseconds trial_;
  std::uint64_t server_;
  std::mutex mutex_;  // held while a file is mapped
  std::atomic<const lock::MappedFile*> current_{nullptr};
  std::vector<std::unique_ptr<lock::MappedFile>> all_;  // others may still look at an old one
  std::atomic<bool> alone_{false};  // there is no file to be had, and private_ is used
  std::array<std::uint64_t, kWords> private_{};
};

}  // namespace cachectl::remote
