// CounterFile: the counters of a cache, in a file that all its processes have mapped.
//
//   ROOT/counters, 64-bit numbers in the order of this machine, added to by atomic
//   instructions and never under a lock, as a process can die at any of them:
//
//   page 0      magic, version, signature of the counter table, size, time of its making;
//               then the hash of the name of each row, 0: free
//   24 KiB      row 0: all keys that have no row of their own
//   24 KiB      rows 1 to 63: each an entry of the configuration
//
//   A row: length of its name (0: not written yet), the name, the counters; then the
//   histograms, each its sum and its buckets. What a hit counts comes first: with times up to
//   two minutes that is one page, so that a hit pays for one.
//
// A row is claimed by writing the hash of its name over a 0, in one instruction; the name
// comes after that, and is written by everybody who finds it missing, so that the death of
// the first harms nobody. When all are taken, what comes counts in row 0.
//
// The file is made complete in tmp/ and then linked to its name. One that is no counter
// file, has another size, or is of an earlier version or another table, is replaced by an
// empty one; one of a later version is left alone, and nothing is counted. What stands in
// the way is renamed over, never followed or written to.
//
// A mapped page that the file system takes away kills whoever touches it (SIGBUS): when the
// file is cut short, or when a file system that writes elsewhere (btrfs) is full. So all
// room is allocated when the file is made; size and name are asked for before each count;
// and each page is faulted in by madvise(MADV_POPULATE_WRITE, Linux 5.14), which fails
// instead. What is left is somebody who cuts the file short in the nanoseconds after that,
// and he must be allowed to write to the root.
//
// Boost.Interprocess maps the descriptor; its file_mapping would open the file by its path
// and follow links.
//
// Thread-safe: no. Several processes and objects may use one file.
#pragma once

#include <array>
#include <bitset>
#include <boost/interprocess/mapped_region.hpp>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "lock/directory.hpp"
#include "src/clock.hpp"
#include "src/telemetry/row.hpp"

namespace cachectl::telemetry {

class CounterFile {
 public:
  static constexpr const char* kName = "counters";
  static constexpr std::uint64_t kVersion = 1;
  static constexpr std::size_t kRows = 64;
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kRowSize = 6 * kPage;
  static constexpr std::size_t kSize = kPage + kRows * kRowSize;

  /// For adding. Made where it is missing, replaced where it is none. nullopt: nothing can be
  /// counted here, and nobody needs to know.
  [[nodiscard]] static std::optional<CounterFile> open(const lock::Directory& root,
                                                       mode_t file_mode);

  /// For a look. nullopt: there is none that can be read.
  [[nodiscard]] static std::optional<CounterFile> look(const lock::Directory& root);

  /// Puts an empty one in its place. Those who have the old one mapped find out before they
  /// count the next time.
  [[nodiscard]] static Result<void> replace(const lock::Directory& root, mode_t file_mode);

  /// Whether this is the file that has its name in `root`, and has its size.
  [[nodiscard]] bool is_current(const lock::Directory& root) const;

  /// The row of a name, which may get one now. Empty, or no row is left: 0.
  [[nodiscard]] std::size_t row_of(std::string_view name);

  /// False: the page cannot be had; this file is to be used no more.
  bool add(std::size_t row, Counter counter, std::uint64_t number);
  bool add(std::size_t row, Timing timing, std::chrono::nanoseconds duration);

  /// When it was made.
  [[nodiscard]] WallTime since() const { return since_; }
  /// All rows that have a name, after the one that has none.
  [[nodiscard]] std::vector<Row> rows() const;

 private:
  enum class Access { look, add };
  enum class Verdict { good, bad, later };
  /// The start of the file, as it was when it was opened.
  struct Head;

  CounterFile(const struct stat& status, const Head& head,
              std::unique_ptr<boost::interprocess::mapped_region> region);
  [[nodiscard]] static Verdict judge(int descriptor, struct stat& status, Head& head);
  [[nodiscard]] static std::optional<CounterFile> map(int descriptor, const struct stat& status,
                                                      const Head& head, Access access);
  [[nodiscard]] std::uint64_t* word(std::size_t index) const;
  [[nodiscard]] std::uint64_t* writable(std::size_t index);
  [[nodiscard]] bool is_named(std::size_t row, std::string_view name);

  dev_t device_;
  ino_t inode_;
  WallTime since_;
  std::array<std::uint64_t, kRows> hashes_;  ///< of the names, as they were
  std::unique_ptr<boost::interprocess::mapped_region> region_;
  std::bitset<kSize / kPage> faulted_in_;
};

}  // namespace cachectl::telemetry
