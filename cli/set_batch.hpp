// set --batch: many values from standard input, one JSON object a line.
//
//   {"key": "user:123", "value": "Ada", "ttl": "1h"}
//
// Bytes that are no UTF-8 stand in "key_base64" and "value_base64", as get --json writes them;
// what else get --json writes is passed over, any other field is a mistake.
#pragma once

#include "cli/session.hpp"

namespace cachectl::cli {

/// Publishes each line by itself. A line that is wrong, or cannot be stored, is said and
/// passed over. The exit status: 0, or that of the last line that failed. `longest_wait`, for
/// the lock of one key, instead of the policy's deadline. Memory: a few times the longest line,
/// which may have 64 MiB.
[[nodiscard]] Result<int> set_batch(Session& session, const Cache& cache, SetPolicy policy,
                                    std::chrono::nanoseconds longest_wait);

}  // namespace cachectl::cli
