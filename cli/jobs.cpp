#include "cli/jobs.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <exception>

#include "cli/exit_status.hpp"
#include "cli/progress_line.hpp"
#include "lock/retry.hpp"
#include "lock/signals.hpp"

namespace cachectl::cli {

namespace {

using Clock = std::chrono::steady_clock;

/// What the process of a job does.
[[noreturn]] void work(const Job& job, pid_t parent, const sigset_t& mask, int to) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died before the call took effect.
  if (::getppid() != parent) ::_exit(128 + SIGKILL);
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  JobReport report;
  try {
    report = job.work();
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "cachectl: unexpected failure: %s\n", problem.what());
    report = {kFailed, {}};
  }
  [[maybe_unused]] const auto told = lock::write_all(to, lock::bytes_of(report.message), "pipe");
  ::_exit(report.status);
}

class Jobs {
 public:
  Jobs(const std::vector<Job>& jobs, std::size_t most, lock::SignalTrap trap)
      : jobs_(&jobs), most_(most), trap_(std::move(trap)), ends_(jobs.size()) {}
  ~Jobs() {
    for (const auto& job : running_) ::kill(job.pid, SIGTERM);
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
    pid_t pid;
    lock::Fd pipe;
    Clock::time_point started;
  };

  Result<void> start() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error("pipe"));
    lock::Fd read(ends[0]);
    const lock::Fd write(ends[1]);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return fail(system_error("fork"));
    if (pid == 0) work((*jobs_)[next_], parent, trap_.previous_mask(), write.get());
    running_.push_back({next_++, pid, std::move(read), Clock::now()});
    // What the terminal has sent may have come before the fork.
    pass_on_signals(pid);
    return {};
  }

  /// Ctrl-C has reached the jobs already, all but `newest` for certain.
  void pass_on_signals(pid_t newest) {
    while (const auto caught = trap_.take()) {
      for (const auto& job : running_) {
        if (!caught->from_kernel || job.pid == newest) ::kill(job.pid, caught->signal);
      }
      if (lock::is_request_to_end(caught->signal)) request_ = caught->signal;
    }
  }

  /// Waits until something happens.
  Result<void> watch() {
    std::vector<pollfd> watched{{trap_.descriptor(), POLLIN, 0}};
    for (const auto& job : running_) watched.push_back({job.pipe.get(), POLLIN, 0});
    const int patience = progress_.is_seen() ? 200 : -1;
    if (::poll(watched.data(), watched.size(), patience) < 0 && errno != EINTR) {
      return fail(system_error("wait for what was started"));
    }
    pass_on_signals(-1);
    for (std::size_t index = running_.size(); index-- > 0;) {
      if (watched[index + 1].revents != 0 && !read_from(running_[index])) reap(index);
    }
    progress_.show([&] { return describe(); });
    return {};
  }

  /// False at the end.
  bool read_from(const Running& job) {
    std::array<std::byte, 4096> block{};
    const auto got = lock::read_some(job.pipe.get(), block, "pipe");
    if (!got || *got == 0) return false;
    ends_[job.index].message.append(reinterpret_cast<const char*>(block.data()), *got);
    return true;
  }

  void reap(std::size_t position) {
    const auto& job = running_[position];
    int status = 0;
    lock::retry([&] { return ::waitpid(job.pid, &status, 0); });
    auto& end = ends_[job.index];
    end.status = WIFSIGNALED(status) ? lock::ExitStatus{128 + WTERMSIG(status), WTERMSIG(status)}
                                     : lock::ExitStatus{WEXITSTATUS(status), 0};
    if (end.status.by_signal()) end.message.clear();  // maybe a part
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
};

}  // namespace

Result<std::vector<JobEnd>> run_jobs(const std::vector<Job>& jobs, std::size_t most) {
  int request = 0;
  std::vector<JobEnd> ends;
  {
    CACHECTL_ASSIGN(auto trap, lock::SignalTrap::create());
    Jobs all(jobs, most, std::move(trap));
    CACHECTL_TRY(all.run());
    request = all.request();
    ends = all.take_ends();
  }
  if (request != 0) lock::die_by(request);
  return ends;
}

}  // namespace cachectl::cli
