// bench_lease ROUNDS FLOCK_FILE TAKE... --- RELEASE...: takes something and gives it back by
// two commands, the second of which gets what the first has printed as its last argument, in
// turns with `flock FLOCK_FILE true`. Prints medians in microseconds, as bench_launch does.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "scripts/bench.d/measure.hpp"

extern char** environ;

namespace {

using Arguments = std::vector<std::string>;

/// Runs a command to its end and returns its output without the newline.
std::string run(const Arguments& arguments) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) bench::give_up("pipe failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) bench::give_up(arguments[0] + ": " + std::strerror(error));
  close(ends[1]);
  std::string output;
  char block[4096];
  ssize_t got = 0;
  while ((got = read(ends[0], block, sizeof block)) > 0) {
    output.append(block, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0) bench::give_up(arguments[0] + " failed");
  if (!output.empty() && output.back() == '\n') output.pop_back();
  return output;
}

double time_cycle(const Arguments& take, Arguments give_back) {
  const auto start = bench::Clock::now();
  give_back.push_back(run(take));
  run(give_back);
  return bench::microseconds_since(start);
}

double time_flock(const std::string& file) {
  const auto start = bench::Clock::now();
  run({"flock", file, "true"});
  return bench::microseconds_since(start);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments take;
  Arguments give_back;
  bool second = false;
  for (int i = 3; i < argc; ++i) {
    if (std::strcmp(argv[i], "---") == 0) {
      second = true;
      continue;
    }
    (second ? give_back : take).emplace_back(argv[i]);
  }
  if (take.empty() || give_back.empty()) {
    bench::give_up("usage: bench_lease ROUNDS FLOCK_FILE TAKE... --- RELEASE...");
  }
  std::vector<double> ours;
  std::vector<double> reference;
  for (int round = 0; round < std::stoi(argv[1]); ++round) {
    const bool ours_first = round % 2 == 0;
    const double first = ours_first ? time_cycle(take, give_back) : time_flock(argv[2]);
    const double other = ours_first ? time_flock(argv[2]) : time_cycle(take, give_back);
    ours.push_back(ours_first ? first : other);
    reference.push_back(ours_first ? other : first);
  }
  std::printf("a_wall=%.0f b_wall=%.0f ratio=%.3f\n", bench::median(ours), bench::median(reference),
              bench::median(ours) / bench::median(reference));
}
