// The names in a directory, with no memory for all of them.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::tree {

/// Calls `use(name, d_type)` for each entry but "." and "..", from where the descriptor
/// stands. `use` may remove the entry. `what()` names the directory in the error.
template <typename What, typename Use>
Result<void> for_each_name(int directory, What what, Use use) {
  alignas(dirent64) std::array<char, 32 * 1024> buffer;
  while (true) {
    const auto size = ::getdents64(directory, buffer.data(), buffer.size());
    if (size == 0) return {};
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOENT) return {};  // the directory itself was removed
      return fail(system_error("list " + what()));
    }
    for (std::size_t offset = 0; offset < static_cast<std::size_t>(size);) {
      const auto* entry = reinterpret_cast<const dirent64*>(&buffer[offset]);
      offset += entry->d_reclen;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      CACHECTL_TRY(use(&entry->d_name[0], entry->d_type));
    }
  }
}

}  // namespace cachectl::tree
