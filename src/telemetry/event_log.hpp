// EventLog: appends what happens in a cache to a file, as JSON lines; docs/events.md.
//
// Each event is one write(2) to a descriptor that was opened for appending, so that the lines
// of several processes do not mix. The file is opened anew for each: it can be renamed at any
// time, by rotate or another program, and no line is lost. Hits and misses are no events; they
// cost no system call.
//
// A log that cannot be written keeps nobody from his value. A symbolic link, or what is no
// plain file of ours, is not written to; the directories above it are the caller's to choose.
//
// Thread-safe; also after a fork.
#pragma once

#include <functional>
#include <string>

#include "lock/result.hpp"
#include "src/telemetry/observer.hpp"
#include "src/telemetry/report.hpp"

namespace cachectl::telemetry {

/// Whether the log holds these. Hits would be most of it, and each a write.
[[nodiscard]] bool is_event(What what);

class EventLog final : public Observer {
 public:
  /// `warn` is told why an event could not be written; may be empty.
  EventLog(std::string path, std::function<void(const Error&)> warn)
      : path_(std::move(path)), warn_(std::move(warn)) {}

  void opened(const lock::Directory& root, mode_t file_mode) override;
  void happened(const Happening& what) override;

  /// The counters, as they are now: between two such lines the requests can be told that are
  /// no events.
  void counted(const Report& report) const;

 private:
  void append(const std::string& line) const;
  [[nodiscard]] Result<void> try_append(const std::string& line) const;

  std::string path_;
  std::function<void(const Error&)> warn_;
  mode_t mode_ = 0600;
};

/// Renames a log that is larger than that to "PATH.1", in place of the last one. Of several
/// who do so at once, one does. False: it was left as it is.
[[nodiscard]] Result<bool> rotate(const std::string& path, std::uint64_t max_size);

}  // namespace cachectl::telemetry
