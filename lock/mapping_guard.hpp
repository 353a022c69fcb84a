// MappingGuard: a mapped file whose pages may be taken away while they are in use.
//
// Whoever touches a page that the file system cannot provide gets SIGBUS: the file was cut
// short, or a file system that writes elsewhere (btrfs) is full. For a mapping that is guarded
// the page becomes one of zeroes that is nobody else's, and the instruction goes on there.
// It is asked afterwards whether that has happened.
//
// To ask beforehand, by madvise(MADV_POPULATE_WRITE), costs a call and twice the time of the
// fault for each page, and leaves the moment after it.
//
// Handles SIGBUS for the process from the first guard on; what is no fault in a guarded
// mapping goes to whoever handled it before. Async-signal-safe, and safe from any thread. A
// fork has the guards of its parent.
#pragma once

#include <cstddef>

namespace cachectl::lock {

class MappingGuard {
 public:
  /// `start` is that of a page.
  MappingGuard(const void* start, std::size_t size);
  /// Before the mapping goes.
  ~MappingGuard();
  MappingGuard(const MappingGuard&) = delete;
  MappingGuard& operator=(const MappingGuard&) = delete;

  /// False: there are too many guards already; it is not to be touched.
  [[nodiscard]] bool is_set() const { return slot_ != nullptr; }
  /// Whether a page was missing: what was read is not in the file, and what was written is lost.
  [[nodiscard]] bool is_tripped() const;

  struct Slot;

 private:
  Slot* slot_ = nullptr;
};

}  // namespace cachectl::lock
