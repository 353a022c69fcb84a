// What coalesce.cpp and lead.cpp share: one request, and what was there when it was made.
#pragma once

#include <optional>
#include <string>

#include "src/refresh/coalesce.hpp"

namespace cachectl::refresh {

/// What was there when we looked.
struct Coalescer::Seen {
  std::optional<store::Entry> record;
  std::optional<store::Entry> attempt;

  /// 0: nothing.
  [[nodiscard]] static store::Generation number(const std::optional<store::Entry>& entry) {
    return entry ? entry->header().generation : 0;
  }
  /// Whether the attempt is the newer of the two.
  [[nodiscard]] bool ended_without_value() const { return number(attempt) > number(record); }
};

/// One call of run, with what it saw when it asked.
struct Coalescer::Request {
  const Key& key;
  const Source& source;
  const RunPolicy& policy;
  const Sink& sink;
  bool& started;  // from then on there is no other way
  store::Generation seen_record = 0;
  store::Generation seen_attempt = 0;
  /// The record that was too old when we asked. To look at it was to use it, so that it may seem
  /// to have been read just now; 0: none was.
  store::Generation expired = 0;
  telemetry::Stopwatch asked = {};

  [[nodiscard]] std::string what() const { return lock::shell_quoted(source.argv); }
};

/// What answers a request, checked.
struct Coalescer::Value {
  store::Entry entry;
  std::optional<store::Tree> tree;
  bool is_failure = false;
};

}  // namespace cachectl::refresh
