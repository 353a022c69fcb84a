// The content of one file of a tree: opening it, and reading it for its checksum.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lock/fd.hpp"
#include "src/tree/cursor.hpp"

namespace cachectl::tree {

/// Stays in the processor's cache, and is enough that calls do not count.
inline constexpr std::size_t kBlock = 128 * 1024;

struct Content {
  lock::Fd file;
  struct stat status {};
};

/// Opens a regular file for reading; whatever else has come to its place is Errc::refused.
[[nodiscard]] Result<Content> open_content(Cursor& cursor, std::string_view path);

struct Sum {
  std::uint64_t checksum = 0;
  std::uint64_t size = 0;
};

/// Reads from the start to the end, with a buffer of kBlock. The error does not name the file.
[[nodiscard]] Result<Sum> sum_of(int file, std::span<std::byte> buffer);

}  // namespace cachectl::tree
