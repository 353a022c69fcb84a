// Fd: one owned file descriptor, and the system calls on it that have to be
// retried, completed or explained.
//
// All descriptors are O_CLOEXEC; a lock that is handed to a child on purpose is
// the one exception, made in lock/child.cpp after the fork. EINTR is retried for
// open, read and write, and never for close (the descriptor is gone by then).
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "lock/result.hpp"

namespace cachectl::lock {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int descriptor) : descriptor_(descriptor) {}
  Fd(Fd&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      descriptor_ = std::exchange(other.descriptor_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] bool valid() const { return descriptor_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }
  void reset();

 private:
  int descriptor_ = -1;
};

using Bytes = std::span<const std::byte>;

/// The bytes of a string, for writing.
[[nodiscard]] inline Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// Writes all of `data`. `what` names the destination in the error.
[[nodiscard]] Result<void> write_all(int descriptor, Bytes data, std::string_view what);
[[nodiscard]] Result<void> write_all_at(int descriptor, Bytes data, std::uint64_t offset,
                                        std::string_view what);

/// Reads until `buffer` is full or the end; returns how much was read.
[[nodiscard]] Result<std::size_t> read_full(int descriptor, std::span<std::byte> buffer,
                                            std::string_view what);
[[nodiscard]] Result<std::size_t> read_full_at(int descriptor, std::span<std::byte> buffer,
                                               std::uint64_t offset, std::string_view what);

/// One read(2), retried on EINTR; 0 at the end.
[[nodiscard]] Result<std::size_t> read_some(int descriptor, std::span<std::byte> buffer,
                                            std::string_view what);

/// fstat(2), retried on EINTR. `what` names the file in the error.
[[nodiscard]] Result<struct stat> status_of(int descriptor, std::string_view what);

/// Whether both are of one file.
[[nodiscard]] inline bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// Asks the kernel to start writing a part of a file to the disk, and does not wait. A
/// hint: errors show in the sync that follows.
void start_writing_back(int descriptor, std::uint64_t offset, std::uint64_t size);

/// fsync(2), once. A failed fsync is never repeated: the kernel reports an I/O
/// error only once and drops the data that it could not write.
[[nodiscard]] Result<void> sync(int descriptor, std::string_view what);

}  // namespace cachectl::lock
