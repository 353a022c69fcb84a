#include "lock/range_query.hpp"

#include <fcntl.h>

#include "lock/retry.hpp"

namespace cachectl::lock {

Result<std::optional<Range>> locked_by_others(int descriptor, Range range, std::string_view file) {
  struct flock what {};
  what.l_type = F_WRLCK;  // with which a shared lock conflicts, too
  what.l_whence = SEEK_SET;
  what.l_start = static_cast<off_t>(range.start);
  what.l_len = static_cast<off_t>(range.length);
  if (retry([&] { return ::fcntl(descriptor, F_OFD_GETLK, &what); }) != 0) {
    return fail(system_error("look at the locks of " + std::string(file)));
  }
  if (what.l_type == F_UNLCK) return std::optional<Range>();
  return std::optional(
      Range{static_cast<std::uint64_t>(what.l_start), static_cast<std::uint64_t>(what.l_len)});
}

}  // namespace cachectl::lock
