#include "src/tree/content.hpp"

#include <fcntl.h>

#include <cerrno>

#include "src/checksum.hpp"
#include "src/tree/manifest.hpp"

namespace cachectl::tree {

Result<Content> open_content(Cursor& cursor, std::string_view path) {
  CACHECTL_ASSIGN(const int directory, cursor.at(parent_of(path)));
  const std::string name(name_of(path));
  // O_NONBLOCK: a FIFO that somebody puts here must not stop us.
  Content content{lock::Fd(open_name(directory, name.c_str(), O_RDONLY | O_NONBLOCK)), {}};
  const auto refuse = [&](int error) {
    return fail(Error{Errc::refused, error, cursor.name(path) + ": is no regular file", {}});
  };
  if (!content.file.valid()) {
    if (errno == ELOOP || errno == ENXIO) return refuse(errno);
    return fail(system_error("open " + cursor.name(path)));
  }
  auto status = lock::status_of(content.file.get(), name);
  if (!status) return fail(std::move(status).error());
  content.status = *status;
  if (!S_ISREG(content.status.st_mode)) return refuse(0);
  return content;
}

Result<Sum> sum_of(int file, std::span<std::byte> buffer) {
  // Most files fit into the buffer, and have ended where a read gives less than asked for.
  CACHECTL_ASSIGN(auto got, lock::read_some(file, buffer, "its content"));
  if (got < buffer.size()) return Sum{checksum_of(buffer.first(got)), got};
  Checksum sum;
  std::uint64_t size = 0;
  while (got > 0) {
    sum.add(buffer.first(got));
    size += got;
    CACHECTL_ASSIGN(got, lock::read_some(file, buffer, "its content"));
  }
  return Sum{sum.value(), size};
}

}  // namespace cachectl::tree
