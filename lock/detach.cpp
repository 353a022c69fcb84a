#include "lock/detach.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace cachectl::lock {

void close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  const auto close_range = [](unsigned first, unsigned last) {
    if (first > last || ::syscall(SYS_close_range, first, last, 0) == 0) return;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const auto end = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, 1U << 20U));
    for (unsigned each = first; each <= last && each < end; ++each) {
      ::close(static_cast<int>(each));
    }
  };
  unsigned first = 0;
  for (const int descriptor : kept) {
    const auto next = static_cast<unsigned>(descriptor);
    if (next > first) close_range(first, next - 1);
    first = std::max(first, next + 1);
  }
  close_range(first, ~0U);
}

bool detach(std::vector<int> kept) {
  ::setsid();  // fails for who leads a session already: then there is nothing to leave
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return false;
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::dup2(null, stream) < 0) return false;
    kept.push_back(stream);
  }
  close_all_but(std::move(kept));
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2}) {
    ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  return true;
}

}  // namespace cachectl::lock
