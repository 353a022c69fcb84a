// The portable backend of FileLock: boost::interprocess::file_lock.
//
// A POSIX record lock belongs to the process: two threads would both succeed, and
// closing any descriptor of the file would drop it. So each file has one
// ProcessLock in a registry; threads exclude each other there, and only the first
// of them takes the lock of the process. FileLocks share it while they live, and
// hand it their descriptors to close, which it does when nobody holds the lock: whoever
// looks at a held lock costs a descriptor until its release.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/sync/file_lock.hpp>

#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "lock/backoff.hpp"
#include "lock/file_lock.hpp"

namespace cachectl::lock {

const Backend backend = {
    .name = "boost", .ranges = false, .survives_close = false, .inheritable = false};

namespace {

/// Boost opens its own descriptor without O_CLOEXEC, and keeps it to itself.
void close_on_exec_all_of(int file) {
  struct stat ours {};
  struct stat status {};
  if (::fstat(file, &ours) != 0) return;
  DIR* all = ::opendir("/dev/fd");
  if (all == nullptr) return;
  while (const dirent* entry = ::readdir(all)) {
    const int other = std::atoi(entry->d_name);
    // By path, as other threads may close what we see here.
    const auto path = "/dev/fd/" + std::to_string(other);
    if (other > STDERR_FILENO && ::stat(path.c_str(), &status) == 0 && same_file(status, ours)) {
      ::fcntl(other, F_SETFD, FD_CLOEXEC);
    }
  }
  ::closedir(all);
}

}  // namespace

/// The lock of this process on one file.
///
///   free --take--> changing --got--> shared by n threads | exclusive --release--> free
///                     `--deadline--> free
class ProcessLock {
 public:
  /// By descriptor and not by path: the path may name another file by now.
  explicit ProcessLock(int file) : file_(("/dev/fd/" + std::to_string(file)).c_str()) {
    close_on_exec_all_of(file);
  }

  bool acquire(Mode mode, const Deadline& deadline) {
    ObservedWait wait(deadline);  // ends when the mutex is free: the observer may look at the file
    std::unique_lock guard(mutex_);
    const auto open_to_us = [&] {
      return !changing_ && !exclusive_ && (mode == Mode::shared || sharers_ == 0);
    };
    while (!open_to_us()) {
      if (deadline.passed()) return false;
      guard.unlock();
      wait.goes_on();
      guard.lock();
      if (open_to_us()) break;
      if (const auto wake_up = wait.wake_up()) {
        changed_.wait_until(guard, *wake_up);
      } else {
        changed_.wait(guard);
      }
    }
    if (mode == Mode::shared && sharers_ > 0) {
      ++sharers_;
      return true;
    }
    changing_ = true;
    guard.unlock();
    bool got = false;
    try {
      got = take(mode, deadline, wait);
    } catch (...) {
      guard.lock();
      finish_change(false, mode);
      throw;
    }
    guard.lock();
    finish_change(got, mode);
    return got;
  }

  void release(Mode mode) {
    const std::lock_guard guard(mutex_);
    if (mode == Mode::exclusive) {
      exclusive_ = false;
      file_.unlock();
    } else if (--sharers_ == 0) {
      file_.unlock_sharable();
    }
    if (sharers_ == 0) retired_.clear();
    changed_.notify_all();
  }

  /// Closes a descriptor of the file as soon as that takes the lock from nobody.
  void retire(Fd descriptor) {
    const std::lock_guard guard(mutex_);
    if (changing_ || exclusive_ || sharers_ > 0) {
      retired_.push_back(std::move(descriptor));
    } else {
      descriptor.reset();  // under the mutex: nobody begins to lock meanwhile
    }
  }

 private:
  void finish_change(bool got, Mode mode) {
    changing_ = false;
    if (got && mode == Mode::shared) sharers_ = 1;
    if (got && mode == Mode::exclusive) exclusive_ = true;
    if (!got) retired_.clear();
    changed_.notify_all();
  }

  bool take(Mode mode, const Deadline& deadline, ObservedWait& wait) {
    Backoff backoff;
    while (true) {
      if (mode == Mode::exclusive ? file_.try_lock() : file_.try_lock_sharable()) return true;
      if (deadline.passed()) return false;
      wait.goes_on();
      backoff.sleep();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  boost::interprocess::file_lock file_;
  int sharers_ = 0;
  bool exclusive_ = false;
  bool changing_ = false;
  std::vector<Fd> retired_;
};

namespace {

/// The one ProcessLock of each file in this process; made on first use, gone with its
/// last user.
class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  std::shared_ptr<ProcessLock> process_lock_of(int descriptor) {
    const std::lock_guard guard(mutex_);
    std::erase_if(locks_, [](const auto& item) { return item.second.expired(); });
    auto& slot = locks_[id_of(descriptor)];
    auto existing = slot.lock();
    if (!existing) {
      existing = std::make_shared<ProcessLock>(descriptor);
      slot = existing;
    }
    return existing;
  }

  /// Closes the descriptor, and the ProcessLock of its last user, without taking the
  /// lock from another thread.
  void close(Fd descriptor, std::shared_ptr<ProcessLock> user) {
    if (!descriptor.valid()) return;
    const std::lock_guard guard(mutex_);
    const auto entry = locks_.find(id_of(descriptor.get()));
    const auto existing = entry == locks_.end() ? nullptr : entry->second.lock();
    if (existing) {
      existing->retire(std::move(descriptor));
    } else {
      descriptor.reset();  // under the mutex: nobody begins to lock meanwhile
    }
    user.reset();  // under the mutex too: it has a descriptor of its own
  }

 private:
  /// With the process: a forked child inherits the registry, but none of the locks.
  using FileId = std::tuple<pid_t, dev_t, ino_t>;

  static FileId id_of(int descriptor) {
    struct stat status {};
    ::fstat(descriptor, &status);
    return {::getpid(), status.st_dev, status.st_ino};
  }

  std::mutex mutex_;
  std::map<FileId, std::weak_ptr<ProcessLock>> locks_;
};

}  // namespace

struct FileLock::Impl {
  std::shared_ptr<ProcessLock> process_lock;
  int held = 0;  // ranges, all of which mean the whole file here
  Mode mode = Mode::shared;

  void release_all() {
    if (held > 0) process_lock->release(mode);
    held = 0;
  }
};

FileLock::FileLock(Fd file, std::string path)
    : file_(std::move(file)), path_(std::move(path)), impl_(std::make_unique<Impl>()) {}
FileLock::FileLock(FileLock&&) noexcept = default;
FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (impl_) {
    impl_->release_all();
    Registry::instance().close(std::move(file_), std::move(impl_->process_lock));
  }
  file_ = std::move(other.file_);
  path_ = std::move(other.path_);
  impl_ = std::move(other.impl_);
  return *this;
}
FileLock::~FileLock() {
  if (impl_) {
    impl_->release_all();
    Registry::instance().close(std::move(file_), std::move(impl_->process_lock));
  }
}

Result<bool> FileLock::lock(Range, Mode mode, const Deadline& deadline) try {
  if (impl_->held > 0) return true;
  if (!impl_->process_lock) impl_->process_lock = Registry::instance().process_lock_of(file_.get());
  if (!impl_->process_lock->acquire(mode, deadline)) return false;
  impl_->held = 1;
  impl_->mode = mode;
  return true;
} catch (const boost::interprocess::interprocess_exception& problem) {
  return fail(Errc::io, "lock " + path_ + ": " + problem.what());
}

Result<void> FileLock::unlock(Range) try {
  impl_->release_all();
  return {};
} catch (const boost::interprocess::interprocess_exception& problem) {
  return fail(Errc::io, "unlock " + path_ + ": " + problem.what());
}

}  // namespace cachectl::lock
