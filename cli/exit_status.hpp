// Exit statuses: one table for all subcommands, after the convention of the wrappers of
// coreutils (timeout, env, nice).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::cli {

inline constexpr int kDone = 0;
inline constexpr int kNo = 1;  ///< a plain "no": miss, not held, nothing found
inline constexpr int kUsage = 2;
inline constexpr int kTimeout = 124;
inline constexpr int kFailed = 125;
inline constexpr int kNotRunnable = 126;
inline constexpr int kNotFound = 127;

[[nodiscard]] int exit_status_of(Errc code);

/// The table: what to look for, and what it means, in Markdown.
struct ExitStatusMeaning {
  std::string_view status;
  std::string_view meaning;
};
[[nodiscard]] std::span<const ExitStatusMeaning> exit_status_meanings();

/// docs/exit-statuses.md, generated from the table.
[[nodiscard]] std::string exit_statuses_markdown();

}  // namespace cachectl::cli
