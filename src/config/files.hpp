// The configuration files: where they are looked for, and which are trusted.
//
// A file that the user named is read whatever it is. One that merely lies in the working
// directory could have been put there by somebody else (/tmp, a shared checkout), and it
// chooses the root; so it must belong to the user or to root, and not be writable by all.
// A file that nobody named and that is not there is no error, and costs one open(2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lock/result.hpp"
#include "src/config/environment.hpp"

namespace cachectl::config {

inline constexpr const char* system_file = "/etc/cachectl/cachectl.toml";
inline constexpr const char* local_file = "cachectl.toml";

struct FileText {
  std::string path;
  std::string text;
};

/// A file that must be there. Errc::config when it cannot be read.
[[nodiscard]] Result<FileText> read_named_file(const std::string& path);

/// A file of a well-known place; nullopt when there is none.
[[nodiscard]] Result<std::optional<FileText>> read_if_exists(const std::string& path);

/// The user's file: `named` (--config), else $CACHECTL_CONFIG, else ./cachectl.toml, else
/// the one in the home directory; nullopt when none of them exists.
[[nodiscard]] Result<std::optional<FileText>> read_user_file(
    const std::optional<std::string>& named, const Environment& environment);

/// $XDG_CONFIG_HOME/cachectl/cachectl.toml, by default below $HOME/.config; none without a home.
[[nodiscard]] std::optional<std::string> home_file(const Environment& environment);

/// The files that would be tried, in this order; the first one of the user's (all but the
/// last) wins over the last one, the system's.
[[nodiscard]] std::vector<std::string> search_path(const std::optional<std::string>& named,
                                                   const Environment& environment);

}  // namespace cachectl::config
