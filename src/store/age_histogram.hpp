// AgeHistogram: which entries were used least recently, in bounded memory.
//
// Counts entries and bytes by the time since their last use, in classes that grow with
// it: 1,024 for each power of two, so that an age is known to 0.1 %. Less than 1 MiB,
// whatever the number of entries. (Listing all of them would take 40 bytes each.)
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "src/clock.hpp"

namespace cachectl::store {

/// What has to go: all entries of the classes older than `cut_class`, and as many of
/// that class itself as cover these amounts.
struct Excess {
  std::size_t cut_class = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

class AgeHistogram {
 public:
  explicit AgeHistogram(WallTime now)
      : now_(now), classes_(class_of(std::uint64_t{1} << 62U) + 1) {}

  void add(WallTime last_used, std::uint64_t size) {
    auto& one = classes_[class_at(last_used)];
    ++one.files;
    one.bytes += size;
    files_ += 1;
    bytes_ += size;
  }

  /// What has to go so that the limits hold; nullopt when they do.
  [[nodiscard]] std::optional<Excess> cut(std::uint64_t max_files, std::uint64_t max_bytes) const {
    std::uint64_t files = files_ > max_files ? files_ - max_files : 0;
    std::uint64_t bytes = bytes_ > max_bytes ? bytes_ - max_bytes : 0;
    if (files == 0 && bytes == 0) return std::nullopt;
    for (std::size_t index = classes_.size(); index-- > 0;) {
      const auto& one = classes_[index];
      if (files <= one.files && bytes <= one.bytes) return Excess{index, files, bytes};
      files -= std::min(files, one.files);
      bytes -= std::min(bytes, one.bytes);
    }
    return Excess{};
  }

  /// Older than the cut (positive), in its class (zero), or younger.
  [[nodiscard]] int compare(WallTime last_used, const Excess& excess) const {
    const auto index = class_at(last_used);
    return index > excess.cut_class ? 1 : index == excess.cut_class ? 0 : -1;
  }

 private:
  static constexpr unsigned kBits = 10;  // 2^10 classes for each power of two

  struct Class {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };

  static std::size_t class_of(std::uint64_t age) {
    if (age < (1U << kBits)) return age;
    const auto shift = static_cast<unsigned>(std::bit_width(age)) - 1 - kBits;
    return (std::size_t{shift} << kBits) + (age >> shift);
  }
  [[nodiscard]] std::size_t class_at(WallTime last_used) const {
    // Anybody may give a file any time: what does not fit is the oldest there is.
    constexpr std::uint64_t kOldest = std::uint64_t{1} << 62U;
    if (last_used >= now_) return 0;
    const auto age = static_cast<std::uint64_t>(now_.time_since_epoch().count()) -
                     static_cast<std::uint64_t>(last_used.time_since_epoch().count());
    return class_of(std::min(age, kOldest));
  }

  WallTime now_;
  std::vector<Class> classes_;
  std::uint64_t files_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace cachectl::store
