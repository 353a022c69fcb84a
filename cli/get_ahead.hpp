// Making the values of several keys before the first of them is printed.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "cli/session.hpp"

namespace cachectl::cli {

/// What a source said that get has run ahead of its turn.
struct MadeAhead {
  int status = 0;
  bool is_stored = false;
  std::optional<lock::StagedFile> output;  // nothing: it was not asked for, or is not whole

  [[nodiscard]] Result<void> write_to(int descriptor, std::string_view name) const;
};

/// Runs the sources of those keys that have one and no value to serve, at most `most` at a
/// time, and keeps their output where it is wanted. By the bytes of the key; one that is not in
/// there is to be got as ever.
[[nodiscard]] Result<std::map<std::string, MadeAhead>> get_ahead(Session& session,
                                                                 const Cache& cache,
                                                                 std::span<const Key> keys,
                                                                 std::size_t most,
                                                                 bool wants_output);

}  // namespace cachectl::cli
