// bench_launch: the wall time, CPU and memory of two commands, taken in turns.
//
//   bench_launch [--rounds N] [--crowd K] [--stdout null|pipe|FILE] [--before SHELL]
//                -- A... --- B...
//
// Each round measures A and B once, A first in even rounds and B first in odd ones, so
// that drift of the machine hits both alike. A measurement starts K copies (default 1)
// at once and ends with the last one's exit. Processes are spawned without a shell and
// without copying this one. SHELL runs, unmeasured, before each of them, with
// BENCH_ROUND in its environment and in that of the commands.
//
// Prints one line of key=value pairs: medians over the rounds of the wall time and CPU in
// microseconds, the largest resident set of one process in KiB (not below our own, some
// 3 MiB), and a_wall / b_wall. A command that fails ends it with status 125.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <span>
#include <string_view>

#include "scripts/bench.d/measure.hpp"

extern char** environ;

namespace {

struct Options {
  int rounds = 101;
  int crowd = 1;
  std::string sink = "null";
  std::string before;
};

struct Command {
  std::vector<char*> arguments;  // ends with a null pointer, for exec
  std::vector<double> wall;
  std::vector<double> cpu;
  long peak_kib = 0;
};

double microseconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
}

pid_t spawn(const Command& command, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, command.arguments[0], &actions, nullptr,
                                 command.arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) bench::give_up(std::string(command.arguments[0]) + ": " + std::strerror(error));
  return pid;
}

void drain(int pipe_end) {
  static std::vector<char> buffer(std::size_t{1} << 20);
  while (read(pipe_end, buffer.data(), buffer.size()) > 0) {
  }
}

/// One measurement: from the first start to the last exit.
void measure(Command& command, const Options& options) {
  int output = -1;
  int pipe_ends[2] = {-1, -1};
  if (options.sink == "pipe") {
    if (pipe2(pipe_ends, O_CLOEXEC) != 0) bench::give_up("no pipe");
    output = pipe_ends[1];
  } else if (options.sink == "null") {
    output = open("/dev/null", O_WRONLY | O_CLOEXEC);
  } else {
    unlink(options.sink.c_str());
    output = open(options.sink.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  }
  if (output < 0) bench::give_up(options.sink + ": " + std::strerror(errno));

  const auto start = bench::Clock::now();
  for (int i = 0; i < options.crowd; ++i) spawn(command, output);
  if (pipe_ends[0] >= 0) {
    close(output);
    drain(pipe_ends[0]);
  }
  double cpu = 0;
  for (int i = 0; i < options.crowd; ++i) {
    int status = 0;
    rusage usage{};
    if (wait4(-1, &status, 0, &usage) < 0) bench::give_up("wait4 failed");
    if (status != 0)
      bench::give_up(std::string(command.arguments[0]) + ": failed with wait status " +
                     std::to_string(status));
    cpu += microseconds_of(usage.ru_utime) + microseconds_of(usage.ru_stime);
    command.peak_kib = std::max(command.peak_kib, usage.ru_maxrss);
  }
  command.wall.push_back(bench::microseconds_since(start));
  command.cpu.push_back(cpu);

  close(pipe_ends[0] >= 0 ? pipe_ends[0] : output);
}

void prepare(const Options& options, int round) {
  setenv("BENCH_ROUND", std::to_string(round).c_str(), 1);
  if (!options.before.empty() && std::system(options.before.c_str()) != 0)
    bench::give_up("failed: " + options.before);
}

Options parse_options(std::span<char*>& arguments) {
  Options options;
  while (arguments.size() >= 2 && std::string_view(arguments[0]) != "--") {
    const std::string_view name = arguments[0];
    const std::string value = arguments[1];
    if (name == "--rounds") {
      options.rounds = std::stoi(value);
    } else if (name == "--crowd") {
      options.crowd = std::stoi(value);
    } else if (name == "--stdout") {
      options.sink = value;
    } else if (name == "--before") {
      options.before = value;
    } else {
      bench::give_up("unknown option " + std::string(name));
    }
    arguments = arguments.subspan(2);
  }
  if (!arguments.empty()) arguments = arguments.subspan(1);
  return options;
}

Command take_command(std::span<char*>& arguments) {
  Command command;
  while (!arguments.empty() && std::string_view(arguments[0]) != "---") {
    command.arguments.push_back(arguments[0]);
    arguments = arguments.subspan(1);
  }
  if (!arguments.empty()) arguments = arguments.subspan(1);
  if (command.arguments.empty()) bench::give_up("usage: bench_launch [OPTIONS] -- A... --- B...");
  command.arguments.push_back(nullptr);
  return command;
}

}  // namespace

int main(int argc, char** argv) {
  auto arguments = std::span(argv, static_cast<std::size_t>(argc)).subspan(1);
  const Options options = parse_options(arguments);
  Command a = take_command(arguments);
  Command b = take_command(arguments);

  for (int round = 0; round < options.rounds; ++round) {
    for (Command* command : {round % 2 == 0 ? &a : &b, round % 2 == 0 ? &b : &a}) {
      prepare(options, round);
      measure(*command, options);
    }
  }
  const double a_wall = bench::median(a.wall);
  const double b_wall = bench::median(b.wall);
  std::printf("a_wall=%.0f b_wall=%.0f ratio=%.3f a_cpu=%.0f b_cpu=%.0f a_kib=%ld b_kib=%ld\n",
              a_wall, b_wall, a_wall / b_wall, bench::median(a.cpu), bench::median(b.cpu),
              a.peak_kib, b.peak_kib);
}
