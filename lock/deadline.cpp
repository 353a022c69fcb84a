#include "lock/deadline.hpp"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <mutex>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace cachectl::lock {

Deadline Deadline::after(std::chrono::nanoseconds duration) {
  const auto now = Clock::now();
  if (duration > Clock::time_point::max() - now) return never();
  return Deadline(now + duration);
}

namespace {

int interrupt_signal() { return SIGRTMAX - 1; }

void install_handler_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigemptyset(&action.sa_mask);
    action.sa_flags = 0;  // no SA_RESTART: the interrupted call is to return
    ::sigaction(interrupt_signal(), &action, nullptr);
  });
}

timespec to_timespec(std::chrono::nanoseconds duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {static_cast<time_t>(seconds.count()), static_cast<long>((duration - seconds).count())};
}

}  // namespace

void ObservedWait::goes_on() {
  if (deadline_.observer() == nullptr) return;
  constexpr std::chrono::seconds kInterval{1};
  const auto now = Deadline::Clock::now();
  if (next_ && now < *next_) return;
  next_ = now + kInterval;
  deadline_.observer()->waiting();
}

std::optional<Deadline::Clock::time_point> ObservedWait::wake_up() const {
  if (deadline_.is_never()) return next_;
  return next_ ? std::min(*next_, deadline_.at()) : deadline_.at();
}

InterruptAt::InterruptAt(const Deadline& deadline) : deadline_(deadline), wait_(deadline) {
  if (deadline.is_immediate() || (deadline.is_never() && deadline.observer() == nullptr)) {
    armed_ = true;
    return;
  }
  install_handler_once();
  sigset_t unblock;
  ::sigemptyset(&unblock);
  ::sigaddset(&unblock, interrupt_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &unblock, nullptr);

  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = interrupt_signal();
  event.sigev_notify_thread_id = ::gettid();
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) timer_ = timer;
  set_timer();
}

void InterruptAt::set_timer() {
  const auto wake_up = wait_.wake_up();
  if (timer_ && wake_up && wake_up != set_for_) {
    using std::chrono::nanoseconds;
    itimerspec when{};
    const auto at = wake_up->time_since_epoch();  // steady_clock is CLOCK_MONOTONIC
    when.it_value = to_timespec(at > nanoseconds(0) ? nanoseconds(at) : nanoseconds(1));
    when.it_interval = to_timespec(std::chrono::milliseconds(5));
    if (::timer_settime(*timer_, TIMER_ABSTIME, &when, nullptr) == 0) {
      set_for_ = wake_up;
    } else {
      ::timer_delete(*timer_);
      timer_.reset();
    }
  }
  // Who has no deadline sleeps also where nothing wakes him up to tell of it.
  armed_ = timer_.has_value() || deadline_.is_never();
}

void InterruptAt::goes_on() {
  if (deadline_.observer() == nullptr) return;
  wait_.goes_on();
  set_timer();
}

InterruptAt::~InterruptAt() {
  if (timer_) ::timer_delete(*timer_);
}

}  // namespace cachectl::lock
