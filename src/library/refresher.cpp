#include "src/library/refresher.hpp"

#include <system_error>

namespace cachectl {

namespace {

constexpr std::size_t kMostThreads = 4;
constexpr std::size_t kMostQueued = 1024;

}  // namespace

Refresher::~Refresher() {
  {
    const std::lock_guard guard(mutex_);
    ends_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

bool Refresher::start(std::function<void()> work) {
  const std::lock_guard guard(mutex_);
  if (queue_.size() >= kMostQueued) return false;
  if (queue_.size() >= idle_ && threads_.size() < kMostThreads) {
    try {
      threads_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
      if (threads_.empty()) return false;
    }
  }
  queue_.push_back(std::move(work));
  changed_.notify_one();
  return true;
}

void Refresher::serve() {
  std::unique_lock guard(mutex_);
  while (true) {
    ++idle_;
    changed_.wait(guard, [this] { return ends_ || !queue_.empty(); });
    --idle_;
    if (ends_) return;
    const auto work = std::move(queue_.front());
    queue_.pop_front();
    guard.unlock();
    work();
    guard.lock();
  }
}

}  // namespace cachectl
