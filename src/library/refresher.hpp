// Refresher: does work that nobody waits for, on a few threads of this process.
//
// Threads start when there is work, and end with the object: it waits for what runs, and drops
// what has not begun. Thread-safe: start.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace cachectl {

class Refresher {
 public:
  Refresher() = default;
  ~Refresher();
  Refresher(const Refresher&) = delete;
  Refresher& operator=(const Refresher&) = delete;

  /// False: there is too much to do already, or no thread is to be had. `work` throws nothing.
  bool start(std::function<void()> work);

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ends_ = false;
};

}  // namespace cachectl
