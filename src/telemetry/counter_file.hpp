// CounterFile: the counters of a cache, in a file that all its processes have mapped.
//
//   ROOT/counters, 64-bit numbers in the order of this machine, added to by atomic
//   instructions and never under a lock, as a process can die at any of them:
//
//   1 KiB       magic, version, signature of the counter table, size, time of its making;
//               then the hash of the name of each row, 0: free
//   32 KiB      row 0: all keys that have no row of their own
//   32 KiB      rows 1 to 63: each an entry of the configuration
//
//   A row: length of its name (0: not written yet), the name, the counters; then the
//   histograms, each its sum and its buckets. What a hit counts comes first: with times up to
//   half a second that is one page, which in row 0 is also that of the head, so that a hit pays for
//   one.
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
// All room is allocated when the file is made, and its size is looked at before each count, but
// for the first of a process where that needs the first page only (Extent): then for one in 64. A
// page that the file system takes away all the same is found out (lock/mapped_file.hpp).
//
// Thread-safe: no. Several processes and objects may use one file.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "lock/mapped_file.hpp"
#include "src/clock.hpp"
#include "src/telemetry/row.hpp"

namespace cachectl::telemetry {

class CounterFile {
 public:
  static constexpr const char* kName = "counters";
  static constexpr std::uint64_t kVersion = 3;
  static constexpr std::size_t kRows = 64;
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kHeadSize = 1024;
  static constexpr std::size_t kRowSize = 8 * kPage;
  static constexpr std::size_t kSize = kPage + kRows * kRowSize;  ///< whole pages

  /// What is mapped of it at least. The first page is enough to count one hit in row 0, and costs
  /// less; is_current() is false then.
  enum class Extent { first_page, whole };

  /// For adding. Made where it is missing, replaced where it is none. nullopt: nothing can be
  /// counted here, and nobody needs to know.
  [[nodiscard]] static std::optional<CounterFile> open(const lock::Directory& root,
                                                       mode_t file_mode,
                                                       Extent extent = Extent::whole);

  /// Whether all that a hit of that duration counts in row 0 is in the first page.
  [[nodiscard]] static bool is_in_first_page(std::chrono::nanoseconds hit);

  /// For a look. nullopt: there is none that can be read.
  [[nodiscard]] static std::optional<CounterFile> look(const lock::Directory& root);

  /// Puts an empty one in its place. Those who have the old one mapped find out before they
  /// count the next time.
  [[nodiscard]] static Result<void> replace(const lock::Directory& root, mode_t file_mode);

  /// Whether this is the file that has its name in `root`, and has its size.
  [[nodiscard]] bool is_current(const lock::Directory& root) const;

  /// The row of a name, which may get one now. Empty, or no row is left: 0.
  [[nodiscard]] std::size_t row_of(std::string_view name);

  /// False: the page is gone; this file is to be used no more.
  bool add(std::size_t row, Counter counter, std::uint64_t number);
  bool add(std::size_t row, Timing timing, std::chrono::nanoseconds duration);

  /// When it was made.
  [[nodiscard]] WallTime since() const;
  /// All rows that have a name, after the one that has none; none if they cannot be read.
  [[nodiscard]] std::vector<Row> rows() const;

 private:
  using Mapped = std::unique_ptr<lock::MappedFile>;

  explicit CounterFile(Mapped mapped) : mapped_(std::move(mapped)) {}
  [[nodiscard]] std::uint64_t load(std::size_t index) const;
  [[nodiscard]] bool is_named(std::size_t row, std::string_view name);
  [[nodiscard]] Row read_row(std::size_t number) const;

  Mapped mapped_;
};

}  // namespace cachectl::telemetry
