#include "src/store/copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "lock/fd.hpp"

namespace cachectl::store {

namespace {

constexpr std::size_t kBlock = 256 * 1024;
/// What the kernel is asked to move at once. Longer calls were slower: they outgrow the
/// processor's cache.
constexpr int kPiece = 1024 * 1024;

/// How much the kernel has moved by itself, without a detour through our memory. Ends
/// early where it can not; the caller goes on from there.
template <typename Move>
std::uint64_t let_kernel_move(std::uint64_t offset, std::uint64_t size, Move move) {
  std::uint64_t done = 0;
  while (done < size) {
    auto position = static_cast<off64_t>(offset + done);
    const auto moved = move(&position, std::min<std::uint64_t>(size - done, kPiece));
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) break;
    done += static_cast<std::uint64_t>(moved);
  }
  return done;
}

/// Pipes take the pages of the page cache as they are; files are copied inside the
/// kernel, or share blocks where the file system can. Smaller values are not worth it.
std::uint64_t move_in_kernel(int from, std::uint64_t offset, std::uint64_t size, int to) {
  struct stat status {};
  if (size < kBlock || ::fstat(to, &status) != 0) return 0;
  if (S_ISFIFO(status.st_mode)) {
    ::fcntl(to, F_SETPIPE_SZ, kPiece);  // fewer switches; refused for the poor: no matter
    return let_kernel_move(offset, size, [=](off64_t* position, std::size_t length) {
      return ::splice(from, position, to, nullptr, length, SPLICE_F_MOVE);
    });
  }
  if (S_ISREG(status.st_mode)) {
    return let_kernel_move(offset, size, [=](off64_t* position, std::size_t length) {
      return ::copy_file_range(from, position, to, nullptr, length, 0);
    });
  }
  return 0;
}

}  // namespace

Result<void> copy_range(int from, std::uint64_t offset, std::uint64_t size, int to,
                        std::string_view from_name, std::string_view to_name) {
  const auto moved = move_in_kernel(from, offset, size, to);
  offset += moved;
  size -= moved;
  std::vector<std::byte> block(std::min<std::uint64_t>(size, kBlock));
  while (size > 0) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(size, block.size()));
    CACHECTL_ASSIGN(const std::size_t got, lock::read_full_at(from, part, offset, from_name));
    if (got == 0) {
      return fail(Errc::corrupt, std::string(from_name) + ": cut off while it was read");
    }
    CACHECTL_TRY(lock::write_all(to, part.first(got), to_name));
    offset += got;
    size -= got;
  }
  return {};
}

}  // namespace cachectl::store
