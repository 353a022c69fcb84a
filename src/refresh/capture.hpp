// Capture: runs a source and records what it says while passing it on.
//
// Standard output goes into the staged record as it comes; standard error into an
// anonymous file, since the record holds it behind the output. What cannot be recorded
// (a full disk) is still passed on: the source's work is not lost with the cache.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lock/child.hpp"
#include "lock/signals.hpp"
#include "src/store/record_writer.hpp"

namespace cachectl::refresh {

/// The command that makes a value.
struct Source {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  ///< "NAME=value", added to ours
  std::string directory = {};            ///< where it runs; empty: where we do
  /// The value is the file or directory that it makes at $CACHECTL_OUTPUT. What it prints
  /// is for people: its standard output goes where its standard error goes.
  bool makes_tree = false;
  [[nodiscard]] store::Kind kind() const {
    return makes_tree ? store::Kind::tree : store::Kind::bytes;
  }
  /// The exit status by which it says that the value still holds, for another TTL.
  std::optional<int> not_modified = std::nullopt;
  /// How long it may run. Then it and all of its process group get SIGTERM, and five
  /// seconds later SIGKILL.
  std::chrono::nanoseconds longest = std::chrono::nanoseconds::max();
};

/// Told how a source goes, by the thread that runs it: for a line that people see meanwhile.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  /// The source is about to be started. False: there is no need to tell more of it.
  virtual bool starts() = 0;
  /// It has run for so long: about once a second.
  virtual void runs(std::chrono::nanoseconds since) = 0;
  /// What it has said is about to be written to this descriptor of the sink, by now or later.
  virtual void passes_on(int descriptor) = 0;
  /// It has ended.
  virtual void ran() = 0;
};

/// Where the result goes. Descriptors are borrowed.
struct Sink {
  int output = -1;  ///< -1: nowhere
  int errors = -1;
  /// Nothing is written to `output` before it is known whether it is to be.
  bool hold_back = false;
  RunObserver* observer = nullptr;  ///< of a source that is run now; outlives the call
};

struct Captured {
  lock::ExitStatus status;
  std::optional<Error> timed_out;  ///< it was ended because it ran for too long
  std::uint64_t output_size = 0;
  std::chrono::nanoseconds duration{0};
  int interrupted_by = 0;              ///< the signal that asked us to end, or 0
  std::optional<Error> not_recorded;   ///< why the record is incomplete
  std::optional<Error> not_passed_on;  ///< why the sink did not get all
};

/// What the source inherits from the leader.
struct Hold {
  std::vector<int> descriptors;  ///< the lock: held until the source is gone, even if we die
  std::vector<std::string> environment;
};

/// Runs the source to its end. `writer` is null where nothing can be recorded.
/// `on_end` is called once the source has ended and the record is complete, before the
/// sink has necessarily got everything: publish and unlock there, so that nobody waits
/// for a slow consumer. It returns whether the sink is to have what was held back.
///
/// Signals that ask us to end are passed to the source (with `pass_signals`), and
/// reported. Errors are those of starting the source.
[[nodiscard]] Result<Captured> capture(const Source& source, const Hold& hold, const Sink& sink,
                                       store::RecordWriter* writer, const store::Root* root,
                                       bool pass_signals,
                                       const std::function<bool(const Captured&)>& on_end);

}  // namespace cachectl::refresh
