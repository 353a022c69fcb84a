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
constexpr std::size_t kPipeSize = 1024 * 1024;

bool is_pipe(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && S_ISFIFO(status.st_mode);
}

/// Moves pages of the page cache into a pipe without copying them. Returns how much
/// was moved before the end or the first error; the caller goes on from there.
std::uint64_t splice_into_pipe(int from, std::uint64_t offset, std::uint64_t size, int to) {
  ::fcntl(to, F_SETPIPE_SZ, kPipeSize);  // fewer switches; refused for the poor: no matter
  std::uint64_t done = 0;
  while (done < size) {
    auto position = static_cast<off64_t>(offset + done);
    const auto moved = ::splice(from, &position, to, nullptr,
                                std::min<std::uint64_t>(size - done, kPipeSize), SPLICE_F_MOVE);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) break;
    done += static_cast<std::uint64_t>(moved);
  }
  return done;
}

}  // namespace

Result<void> copy_range(int from, std::uint64_t offset, std::uint64_t size, int to,
                        std::string_view from_name, std::string_view to_name) {
  if (size >= kBlock && is_pipe(to)) {
    const auto moved = splice_into_pipe(from, offset, size, to);
    offset += moved;
    size -= moved;
  }
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
