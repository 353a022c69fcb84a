// Waits for a lock while the wall clock jumps back and forth by an hour, and says how
// that went: exit status 0 when the wait ended at its deadline.
//
//   wall_clock_probe FILE MILLISECONDS
//
// The clock of the machine is not touched: this program has its own clock functions. A
// timer on the wall clock fires an hour late, as after a step back.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "lock/file_lock.hpp"

namespace {

constexpr time_t kHour = 3600;
std::atomic<unsigned> readings = 0;
std::atomic<bool> timer_on_wall_clock = false;

time_t jump() { return readings++ % 2 == 0 ? -kHour : kHour; }

timespec real_time(clockid_t clock) {
  timespec now{};
  ::syscall(SYS_clock_gettime, clock, &now);
  return now;
}

double seconds_of(const timespec& when) {
  return static_cast<double>(when.tv_sec) + 1e-9 * static_cast<double>(when.tv_nsec);
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* when) noexcept {
  *when = real_time(clock);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) when->tv_sec += jump();
  return 0;
}

int gettimeofday(timeval* when, void*) noexcept {
  const timespec now = real_time(CLOCK_REALTIME);
  *when = {now.tv_sec + jump(), now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t* when) noexcept {
  const time_t now = real_time(CLOCK_REALTIME).tv_sec + jump();
  if (when != nullptr) *when = now;
  return now;
}

int timer_create(clockid_t clock, sigevent* event, timer_t* timer) noexcept {
  timer_on_wall_clock = clock == CLOCK_REALTIME;
  int id = 0;
  if (::syscall(SYS_timer_create, clock, event, &id) != 0) return -1;
  *timer = reinterpret_cast<timer_t>(static_cast<std::intptr_t>(id));
  return 0;
}

int timer_settime(timer_t timer, int flags, const itimerspec* when, itimerspec* old) noexcept {
  itimerspec shifted = *when;
  if (timer_on_wall_clock && (flags & TIMER_ABSTIME) != 0) shifted.it_value.tv_sec += kHour;
  const auto id = static_cast<int>(reinterpret_cast<std::intptr_t>(timer));
  return static_cast<int>(::syscall(SYS_timer_settime, id, flags, &shifted, old));
}

int timer_delete(timer_t timer) noexcept {
  const auto id = static_cast<int>(reinterpret_cast<std::intptr_t>(timer));
  return static_cast<int>(::syscall(SYS_timer_delete, id));
}
}

int main(int argc, char** argv) {
  using cachectl::lock::Deadline;
  if (argc != 3) return 2;
  cachectl::lock::FileLock lock(cachectl::lock::Fd(::open(argv[1], O_RDWR | O_CLOEXEC)), argv[1]);
  const auto wait = std::chrono::milliseconds(std::atoi(argv[2]));
  const double start = seconds_of(real_time(CLOCK_MONOTONIC));
  const auto held = lock.lock({7, 1}, cachectl::lock::Mode::exclusive, Deadline::after(wait));
  const double took = seconds_of(real_time(CLOCK_MONOTONIC)) - start;
  const double asked = std::chrono::duration<double>(wait).count();
  if (held && !*held && took >= asked && took < asked + 20) return 0;
  std::printf("asked for %.3f s, took %.3f s\n", asked, took);
  return 1;
}
