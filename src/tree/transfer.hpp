// The bytes of one file to another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "src/checksum.hpp"
#include "src/tree/content.hpp"

namespace cachectl::tree {

struct Transfer {
  const Content* from = nullptr;
  int to = -1;
  std::span<std::byte> buffer;  ///< kBlock
  Checksum* sum = nullptr;      ///< where the content is to be hashed on the way
  /// Called with the size of each piece that was copied.
  const std::function<void(std::uint64_t)>* moved = nullptr;
};

/// Copies as many bytes as the status of `from` says, into an empty file. Holes stay holes.
/// Errc::corrupt where it has ended before. The error does not name the file.
[[nodiscard]] Result<void> transfer(const Transfer& job);

}  // namespace cachectl::tree
