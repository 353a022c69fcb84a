// Jobs: tasks that run side by side, each in a process of its own, a few at a time.
//
//   waiting --fork--> running --its end of the pipe closes--> ended
//
// A job is a worker (lock/worker.hpp): it does what the caller would have done, with its own
// signals and its own locks, and says what came of it.
//
// Ctrl-C at a terminal reaches the jobs by itself; other signals are passed on to them. One
// that asks us to end keeps waiting jobs from starting, and ends this process once those that
// ran have rolled back and ended.
//
// For programs with one thread. The caller must have no children of its own to wait for.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "cli/progress_line.hpp"
#include "lock/child.hpp"
#include "lock/worker.hpp"

namespace cachectl::cli {

struct Job {
  std::string name;  ///< for the line that shows the progress
  std::function<lock::WorkReport(const SharedLine&)> work;
};

struct JobEnd {
  lock::ExitStatus status;
  std::string message;  ///< empty where the process came to a sudden end
  std::chrono::nanoseconds took{0};
};

/// Runs them, at most `most` at a time, in the order given; what came of each stands in its
/// place. Who wants to see it is shown the progress. An error is the system's, that makes no more
/// processes or pipes: no job runs then.
[[nodiscard]] Result<std::vector<JobEnd>> run_jobs(const std::vector<Job>& jobs, std::size_t most,
                                                   bool shows_progress);

}  // namespace cachectl::cli
