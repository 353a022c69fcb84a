// Batch: makes the values of one or several configured keys, and says what came of each.
// What refresh and warm share.
//
// One key is made by this process, several side by side by processes of their own
// (cli/jobs.hpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/configured.hpp"
#include "cli/jobs_option.hpp"
#include "cli/wait_options.hpp"

namespace cachectl::cli {

/// Which values are left alone: those that are fresh, but within the last `threshold` of
/// their TTL only with 1 - `probability`.
struct LeaveFresh {
  std::chrono::nanoseconds threshold{0};
  double probability = 0;
};

class Batch {
 public:
  /// What became of a key.
  enum class Outcome { refreshed, fresh, shared, stale, failed };

  /// `command`, for messages: "refresh".
  explicit Batch(std::string_view command) : command_(command) {}

  /// --jobs, --json, --timeout, --durability and --lease.
  void define(Definition& definition);

  /// Each name once. The exit status: 0, or that of the last of them that failed.
  /// `leave` null: none is left alone. Errc::config: one has no source; nothing was run.
  [[nodiscard]] Result<int> run(Session& session, const std::vector<std::string>& names,
                                const LeaveFresh* leave) const;

 private:
  struct Asked;
  struct Made;
  [[nodiscard]] Result<std::vector<Asked>> look_up(Session& session,
                                                   const std::vector<std::string>& names) const;
  [[nodiscard]] Made make(Session& session, const Cache& cache, const Asked& asked,
                          bool alone) const;
  [[nodiscard]] Result<void> make_all(Session& session, const Cache& cache,
                                      std::vector<Asked>& asked) const;
  void sum_up(const Session& session, const std::vector<Asked>& asked) const;

  std::string command_;
  JobsOption jobs_;
  LeaseOption lease_;
  bool json_ = false;
};

}  // namespace cachectl::cli
