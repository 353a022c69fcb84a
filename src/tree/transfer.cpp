#include "src/tree/transfer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace cachectl::tree {

namespace {

/// What the kernel is asked to copy at once.
constexpr std::uint64_t kPiece = 8 * 1024 * 1024;

class Copying {
 public:
  explicit Copying(const Transfer& job)
      : job_(job), size_(static_cast<std::uint64_t>(job.from->status.st_size)) {}

  Result<void> run() {
    // Blocks are 512 bytes here on every file system. Fewer than the size needs: holes, or
    // compression, which looks the same and costs two more calls.
    const bool holes = static_cast<std::uint64_t>(job_.from->status.st_blocks) * 512 < size_;
    if (!holes || size_ < kBlock) return data(0, size_);
    std::uint64_t at = 0;
    while (at < size_) {
      const auto begin = seek(at, SEEK_DATA);
      CACHECTL_TRY(hole(at, begin));
      const auto end = begin < size_ ? seek(begin, SEEK_HOLE) : size_;
      CACHECTL_TRY(data(begin, end));
      at = end;
    }
    if (::ftruncate(job_.to, static_cast<off_t>(size_)) != 0) {
      return fail(system_error("set the size"));
    }
    return {};
  }

 private:
  [[nodiscard]] int from() const { return job_.from->file.get(); }

  std::uint64_t seek(std::uint64_t offset, int whence) const {
    const auto found = ::lseek(from(), static_cast<off_t>(offset), whence);
    if (found >= 0) return std::clamp(static_cast<std::uint64_t>(found), offset, size_);
    // ENXIO: no more data. Else the file system does not know: all of it is data.
    return whence == SEEK_DATA && errno != ENXIO ? offset : size_;
  }

  /// Nothing is written, but the checksum is that of zeros.
  Result<void> hole(std::uint64_t begin, std::uint64_t end) {
    if (begin < end) (*job_.moved)(end - begin);
    if (job_.sum == nullptr || begin == end) return {};
    std::fill(job_.buffer.begin(), job_.buffer.end(), std::byte{});
    while (begin < end) {
      const auto part = job_.buffer.first(std::min<std::uint64_t>(end - begin, kBlock));
      job_.sum->add(part);
      begin += part.size();
    }
    return {};
  }

  Result<void> data(std::uint64_t begin, std::uint64_t end) {
    // A small file is copied by two calls either way, and through our memory they are
    // cheaper. What is to be hashed has to come through it.
    if (job_.sum == nullptr && end - begin > kBlock) begin = in_kernel(begin, end);
    while (begin < end) {
      const auto part = job_.buffer.first(std::min<std::uint64_t>(end - begin, kBlock));
      CACHECTL_ASSIGN(const auto got, lock::read_full_at(from(), part, begin, "its content"));
      if (got == 0) return fail(Errc::corrupt, "was cut off while it was copied");
      const auto read = part.first(got);
      if (job_.sum != nullptr) job_.sum->add(read);
      CACHECTL_TRY(lock::write_all_at(job_.to, read, begin, "the copy"));
      (*job_.moved)(got);
      begin += got;
    }
    return {};
  }

  /// Copies inside the kernel, and returns how far it came; where it cannot, our memory
  /// does the rest.
  std::uint64_t in_kernel(std::uint64_t begin, std::uint64_t end) const {
    while (begin < end) {
      auto in = static_cast<off64_t>(begin);
      auto out = in;
      const auto moved =
          ::copy_file_range(from(), &in, job_.to, &out, std::min(end - begin, kPiece), 0);
      if (moved < 0 && errno == EINTR) continue;
      if (moved <= 0) break;
      (*job_.moved)(static_cast<std::uint64_t>(moved));
      begin += static_cast<std::uint64_t>(moved);
    }
    return begin;
  }

  const Transfer& job_;
  std::uint64_t size_;
};

}  // namespace

Result<void> transfer(const Transfer& job) { return Copying(job).run(); }

}  // namespace cachectl::tree
