#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "cli/dispatch.hpp"
#include "cli/exit_status.hpp"
#include "lock/signals.hpp"

namespace {

/// Where the caller closed a standard stream, the next file that is opened would take its
/// place: output would go into the cache's own files. Something that can neither be read
/// nor written as the stream is stands there instead, so that its use is still an error.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    const int access = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    [[maybe_unused]] const int taken = ::open("/dev/null", access | O_CLOEXEC);
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_closed_streams();
  cachectl::lock::ignore_write_signals();
  try {
    return cachectl::cli::dispatch(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& problem) {
    // Out of memory, for instance. What was staged has been rolled back on the way here.
    std::fprintf(stderr, "cachectl: unexpected failure: %s\n", problem.what());
    return cachectl::cli::kFailed;
  }
}
