// The key of a command: what it depends on, so that other inputs are another key.
#pragma once

#include <string>
#include <vector>

#include "src/key.hpp"

namespace cachectl::refresh {

struct CommandIdentity {
  std::vector<std::string> argv;
  std::string scope;                   ///< empty: none
  bool working_directory = false;      ///< results differ by directory
  std::vector<std::string> variables;  ///< names of environment variables
  std::vector<std::string> modified;   ///< files whose modification time counts
  std::vector<std::string> content;    ///< files whose content counts
};

/// "[SCOPE:]COMMAND #DIGEST": the command as typed, cut at 256 bytes, for people; the
/// XXH3-128 of everything that counts, for the machine. Values of variables are only in
/// the digest. A missing file is a state like any other; an unreadable one is an error.
[[nodiscard]] Result<Key> command_key(const CommandIdentity& identity);

}  // namespace cachectl::refresh
