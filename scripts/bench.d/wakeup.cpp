// bench_wakeup ROOT [ROUNDS]: how long after its release a lock reaches the one waiter,
// and how much of the waiting that one spends on the CPU.
//
// A second process holds the lock for 20 ms, stamps the moment and releases it; we wait
// with a deadline, as `cachectl lock --timeout` does. In turns with a blocking flock(2) on
// a file beside it, as the reference. Prints the medians in microseconds and the waiter's
// share of a CPU in percent.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <functional>
#include <thread>

#include "lock/lock_table.hpp"
#include "scripts/bench.d/measure.hpp"

namespace {

using cachectl::lock::Deadline;
using cachectl::lock::Directory;
using cachectl::lock::LockTable;
using cachectl::lock::Mode;
using cachectl::lock::Slot;

/// Takes a lock and returns what releases it.
using Release = std::function<void()>;
using Acquire = std::function<Release()>;

struct Samples {
  std::vector<double> latency;
  double cpu = 0;
  double waited = 0;
};

double thread_cpu_microseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

void tell(int pipe_end) {
  if (write(pipe_end, "x", 1) != 1) _exit(125);
}
void hear(int pipe_end) {
  char byte = 0;
  if (read(pipe_end, &byte, 1) != 1) _exit(125);
}

/// The moment of the last release, written by the holder.
struct Board {
  bench::Clock::time_point released;
};

void hold(const Acquire& acquire, Board* board, int ready, int go) {
  for (;;) {
    hear(go);
    const Release release = acquire();
    tell(ready);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    board->released = bench::Clock::now();
    release();
  }
}

struct Holder {
  pid_t pid = -1;
  int ready = -1;
  int go = -1;
};

Holder start_holder(const Acquire& acquire, Board* board) {
  int ready[2];
  int go[2];
  if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0) bench::give_up("no pipe");
  const pid_t pid = fork();
  if (pid < 0) bench::give_up("no process");
  if (pid == 0) {
    close(go[1]);
    hold(acquire, board, ready[1], go[0]);
  }
  close(go[0]);
  return {pid, ready[0], go[1]};
}

void wait_once(const Acquire& acquire, const Holder& holder, const Board* board, Samples& samples) {
  tell(holder.go);
  hear(holder.ready);
  const auto start = bench::Clock::now();
  const double cpu_before = thread_cpu_microseconds();
  const Release release = acquire();
  const auto granted = bench::Clock::now();
  samples.cpu += thread_cpu_microseconds() - cpu_before;
  samples.waited += std::chrono::duration<double, std::micro>(granted - start).count();
  samples.latency.push_back(
      std::chrono::duration<double, std::micro>(granted - board->released).count());
  release();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) bench::give_up("usage: bench_wakeup ROOT [ROUNDS]");
  const std::string root = argv[1];
  const int rounds = argc > 2 ? std::stoi(argv[2]) : 101;

  const auto directory = Directory::open(root);
  if (!directory) bench::give_up(directory.error().describe());
  const LockTable table(*directory, "cache.lock", 0600);
  const Acquire ours = [&table]() -> Release {
    auto held = table.acquire(Slot::of(0x1234567), Mode::exclusive,
                              Deadline::after(std::chrono::seconds(10)), "bench_wakeup");
    if (!held) bench::give_up(held.error().describe());
    if (!*held) bench::give_up("the lock was not granted in 10 s");
    const auto lock = std::make_shared<cachectl::lock::HeldLock>(std::move(**held));
    return [lock] { lock->release(); };
  };
  const Acquire plain = [path = root + "/flock"]() -> Release {
    const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || flock(file, LOCK_EX) != 0) bench::give_up(path + ": cannot be locked");
    return [file] { close(file); };
  };

  void* memory =
      mmap(nullptr, 2 * sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) bench::give_up("no shared memory");
  auto* boards = static_cast<Board*>(memory);
  const Holder our_holder = start_holder(ours, &boards[0]);
  const Holder plain_holder = start_holder(plain, &boards[1]);

  Samples a;
  Samples b;
  for (int round = 0; round < rounds; ++round) {
    wait_once(ours, our_holder, &boards[0], a);
    wait_once(plain, plain_holder, &boards[1], b);
  }
  close(our_holder.go);
  close(plain_holder.go);
  std::printf("a_wall=%.0f b_wall=%.0f ratio=%.3f a_cpu_percent=%.2f b_cpu_percent=%.2f\n",
              bench::median(a.latency), bench::median(b.latency),
              bench::median(a.latency) / bench::median(b.latency), 100 * a.cpu / a.waited,
              100 * b.cpu / b.waited);
}
