// What the tests of coalescing share: sources that leave a trace, and askers.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

using refresh::How;
using refresh::RunPolicy;
using refresh::Source;

[[nodiscard]] inline Source shell(const std::string& script) {
  return {{"sh", "-c", script, "source"}, {}};
}

/// A source that writes each start and end to a log, finds out whether another one of
/// its kind is alive, and waits for a gate in between.
class TracedSource {
 public:
  explicit TracedSource(TestCache& test)
      : log_(test.outside().file("log")),
        pids_(test.outside().file("pids")),
        gate_(test.outside().file("gate")) {
    write_file(log_, "");
    write_file(pids_, "");
  }

  /// Does `work` once the gate is open.
  [[nodiscard]] Source doing(const std::string& work) const {
    // One that is being killed has let go of the lock a moment before it is a zombie: so
    // an overlap counts only if it lasts.
    return shell(
        "alive() { case $(cut -d' ' -f3 /proc/$1/stat 2>/dev/null) in ''|Z|X) false;; esac; }\n"
        "for pid in $(cat " +
        pids_ +
        "); do\n"
        "  if alive $pid; then sleep 0.2; alive $pid && echo overlap >> " +
        log_ +
        "; fi\n"
        "done\n"
        "echo $$ >> " +
        pids_ +
        "\n"
        "echo start >> " +
        log_ +
        "\n"
        "while [ ! -e " +
        gate_ + " ]; do sleep 0.02; done\n" + work +
        "\n"
        "status=$?\n"
        "echo end >> " +
        log_ +
        "\n"
        "exit $status");
  }

  void open_gate() const { write_file(gate_, ""); }
  void close_gate() const { std::filesystem::remove(gate_); }
  [[nodiscard]] std::vector<std::string> log() const {
    std::istringstream text(content_of(log_));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
  [[nodiscard]] long count(const std::string& line) const {
    const auto lines = log();
    return std::count(lines.begin(), lines.end(), line);
  }
  [[nodiscard]] const std::string& log_path() const { return log_; }

 private:
  std::string log_;
  std::string pids_;
  std::string gate_;
};

/// A file without a name, as a sink.
class SinkFile {
 public:
  SinkFile() : file_(::open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)) {
    if (!file_.valid()) throw std::runtime_error("O_TMPFILE");
  }
  [[nodiscard]] int descriptor() const { return file_.get(); }
  [[nodiscard]] std::string content() const {
    struct stat status {};
    ::fstat(file_.get(), &status);
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    must(lock::read_full_at(file_.get(), std::as_writable_bytes(std::span(text)), 0, "sink"));
    return text;
  }

 private:
  lock::Fd file_;
};

/// Asks, and tells all in one line: "ran 0 [output] [errors]", or "error: …".
[[nodiscard]] inline std::string ask(const Cache& cache, const Key& key, const Source& source,
                                     const RunPolicy& policy = {}) {
  const SinkFile output;
  const SinkFile errors;
  const auto result = cache.run(key, source, policy, {output.descriptor(), errors.descriptor()});
  if (!result) return "error: " + result.error().describe();
  std::string text;
  switch (result->how) {
    case How::hit:
      text = "hit";
      break;
    case How::stale:
      text = "stale";
      break;
    case How::shared:
      text = "shared";
      break;
    case How::ran:
      text = "ran";
      break;
    case How::uncached:
      text = "uncached";
      break;
  }
  text += " " + std::to_string(result->status.value) + " [" + output.content() + "] [" +
          errors.content() + "]";
  if (result->refresh_due) text += " due";
  if (result->source_failed) text += " failed: " + result->source_failed->describe();
  if (result->not_stored) text += " not stored: " + result->not_stored->describe();
  return text;
}

/// A process that asks at once and says what it got.
[[nodiscard]] inline Forked asker(TestCache& test, const Key& key, const Source& source,
                                  const RunPolicy& policy = {}) {
  return Forked([&](const Link& link) {
    link.say(ask(test.open(), key, source, policy));
    return 0;
  });
}

/// How many wait for a lock on a file, in all processes and threads.
[[nodiscard]] inline long waiting_for(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return 0;
  const auto inode = ":" + std::to_string(status.st_ino) + " ";
  std::ifstream locks("/proc/locks");
  long count = 0;
  for (std::string line; std::getline(locks, line);) {
    if (line.find("->") != std::string::npos && line.find(inode) != std::string::npos) ++count;
  }
  return count;
}

}  // namespace cachectl::test
