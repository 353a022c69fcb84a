// Runs the real command, as a user's shell would: with arguments, environment and
// standard input, and collects what it said.
//
// Nothing of the caller's environment or files reaches it: HOME and the working directory
// lie in the sandbox, CACHECTL_... variables are dropped. Each wait is bounded. A program
// runs in a process group of its own, which is killed when it is no longer wanted.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "lock/fd.hpp"
#include "tests/support/link.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

/// The command that is tested: of this build, or the one that $CACHECTL_TEST_BINARY names.
[[nodiscard]] const char* binary();

/// It is another build's, with a sanitizer: slower by far than what the promise speaks of.
[[nodiscard]] bool is_sanitized();

struct Outcome {
  int status = -1;  ///< exit status, or 128 + the signal that killed it
  std::string output;
  std::string errors;
  long peak_kib = 0;  ///< of resident memory, the process and the children it waited for
};

struct Program {
  std::vector<std::string> argv;         ///< argv[0] is looked up in PATH
  std::vector<std::string> environment;  ///< "NAME=value": added; "NAME": removed
  std::string directory;                 ///< to work in
  std::string input;                     ///< for standard input
  int input_from = -1;                   ///< standard input itself, instead of `input`
  int output_to = -1;                    ///< standard output itself, instead of collecting
  int errors_to = -1;
  bool close_output = false;  ///< as the shell's >&-
};

/// A program that runs. Ends with the object, if not before.
class Running {
 public:
  /// Throws when it cannot be started.
  explicit Running(const Program& program);
  ~Running();
  Running(Running&& other) noexcept;
  Running& operator=(Running&&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// What it said so far.
  [[nodiscard]] std::string output() const;
  [[nodiscard]] std::string errors() const;
  [[nodiscard]] bool has_ended() const;
  void send(int signal) const;
  /// SIGSTOP, and returns when it has stopped.
  void stop() const;
  /// Throws, and kills it, when it does not end.
  Outcome wait(std::chrono::milliseconds patience = kPatience);

 private:
  pid_t pid_ = -1;
  lock::Fd output_;
  lock::Fd errors_;
};

/// Starts it and waits for its end.
Outcome run(const Program& program);

/// A directory with a cache in it (at root(), made by the first write) and a home.
class Sandbox {
 public:
  Sandbox();

  [[nodiscard]] std::string root() const { return directory_.file("cache"); }
  [[nodiscard]] std::string file(std::string_view name) const { return directory_.file(name); }

  /// A program that works in the sandbox; change it before it is run.
  [[nodiscard]] Program program(std::vector<std::string> argv) const;
  /// cachectl ARGUMENTS...
  [[nodiscard]] Program cachectl(std::vector<std::string> arguments) const;
  /// sh -c SCRIPT, with $cachectl and the cache in its environment.
  [[nodiscard]] Program shell(const std::string& script) const;

  Outcome run(std::vector<std::string> arguments) const {
    return test::run(cachectl(std::move(arguments)));
  }

  /// An executable script for sh; returns its path.
  [[nodiscard]] std::string script(std::string_view name, std::string_view text) const;

  /// The names in tmp/ of the cache; none where there is no such directory.
  [[nodiscard]] std::vector<std::string> staged() const;

 private:
  TempDirectory directory_;
};

/// Writes the configuration file of the directory that the sandbox's programs work in.
void configure(const Sandbox& sandbox, std::string_view text);

[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

/// Whether a process sleeps in fcntl(2): it has looked, found nothing, and waits for a lock.
[[nodiscard]] bool waits_for_lock(pid_t pid);

/// Whether `text` is one line that begins with "cachectl: ".
[[nodiscard]] bool is_one_message(std::string_view text);

}  // namespace cachectl::test
