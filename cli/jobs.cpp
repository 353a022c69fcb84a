#include "cli/jobs.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <exception>

#include "cli/exit_status.hpp"
#include "lock/retry.hpp"
#include "lock/signals.hpp"

namespace cachectl::cli {

namespace {

using Clock = std::chrono::steady_clock;

/// What went wrong in an unexpected way has no words for the caller.
lock::WorkReport work(const Job& job, const SharedLine& line) {
  try {
    return job.work(line);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "cachectl: unexpected failure: %s\n", problem.what());
    return {kFailed, {}};
  }
}

class Jobs {
 public:
  Jobs(const std::vector<Job>& jobs, std::size_t most, lock::SignalTrap trap, bool shows_progress)
      : jobs_(&jobs),
        most_(most),
        trap_(std::move(trap)),
        ends_(jobs.size()),
        shows_progress_(shows_progress && progress_.is_seen()) {}
  ~Jobs() {
    for (const auto& job : running_) job.worker.send(SIGTERM);
    while (!running_.empty()) reap(running_.size() - 1);
  }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  Result<void> run() {
    while (true) {
      while (request_ == 0 && next_ < jobs_->size() && running_.size() < most_) {
        auto started = start();
        if (started) continue;
        if (running_.empty()) return started;
        most_ = running_.size();  // as many as the system has room for
      }
      if (running_.empty()) return {};
      CACHECTL_TRY(watch());
    }
  }

  /// The signal that asked us to end, or 0.
  [[nodiscard]] int request() const { return request_; }
  [[nodiscard]] std::vector<JobEnd> take_ends() { return std::move(ends_); }

 private:
  struct Running {
    std::size_t index;
    lock::Worker worker;
    Clock::time_point started;
  };

  Result<void> start() {
    const auto& job = (*jobs_)[next_];
    CACHECTL_ASSIGN(auto worker, lock::Worker::start([&] { return work(job, shared_); },
                                                     trap_.previous_mask(), lock::Bond::close));
    const pid_t pid = worker.pid();
    running_.push_back({next_++, std::move(worker), Clock::now()});
    // What the terminal has sent may have come before the fork.
    pass_on_signals(pid);
    return {};
  }

  /// Ctrl-C has reached the jobs already, all but `newest` for certain.
  void pass_on_signals(pid_t newest) {
    while (const auto caught = trap_.take()) {
      for (const auto& job : running_) {
        if (!caught->from_kernel || job.worker.pid() == newest) job.worker.send(caught->signal);
      }
      if (lock::is_request_to_end(caught->signal)) request_ = caught->signal;
    }
  }

  /// Waits until something happens.
  Result<void> watch() {
    std::vector<pollfd> watched{{trap_.descriptor(), POLLIN, 0}};
    for (const auto& job : running_) watched.push_back({job.worker.descriptor(), POLLIN, 0});
    const int patience = shows_progress_ ? 200 : -1;
    if (::poll(watched.data(), watched.size(), patience) < 0 && errno != EINTR) {
      return fail(system_error("wait for what was started"));
    }
    pass_on_signals(-1);
    for (std::size_t index = running_.size(); index-- > 0;) {
      if (watched[index + 1].revents != 0 && !running_[index].worker.listen()) reap(index);
    }
    if (shows_progress_ && !shared_.is_taken_away()) progress_.show([&] { return describe(); });
    return {};
  }

  void reap(std::size_t position) {
    auto& job = running_[position];
    int status = 0;
    lock::retry([&] { return ::waitpid(job.worker.pid(), &status, 0); });
    auto& end = ends_[job.index];
    auto report = job.worker.finish(status);
    end.status = {report.status, WIFSIGNALED(status) ? WTERMSIG(status) : 0};
    if (!end.status.by_signal()) end.message = std::move(report.text);
    end.took = Clock::now() - job.started;
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(position));
  }

  /// "2/7: a, b".
  [[nodiscard]] std::string describe() const {
    auto text = fmt::format("{}/{}:", next_ - running_.size(), jobs_->size());
    for (const auto& job : running_)
      text += (text.back() == ':' ? " " : ", ") + (*jobs_)[job.index].name;
    return text;
  }

  const std::vector<Job>* jobs_;
  std::size_t most_;
  lock::SignalTrap trap_;
  std::vector<JobEnd> ends_;
  std::vector<Running> running_;
  std::size_t next_ = 0;  // the first that waits
  int request_ = 0;
  ProgressLine progress_;
  SharedLine shared_;
  bool shows_progress_;
};

}  // namespace

Result<std::vector<JobEnd>> run_jobs(const std::vector<Job>& jobs, std::size_t most,
                                     bool shows_progress) {
  int request = 0;
  std::vector<JobEnd> ends;
  {
    CACHECTL_ASSIGN(auto trap, lock::SignalTrap::create());
    Jobs all(jobs, most, std::move(trap), shows_progress);
    CACHECTL_TRY(all.run());
    request = all.request();
    ends = all.take_ends();
  }
  if (request != 0) lock::die_by(request);
  return ends;
}

}  // namespace cachectl::cli
