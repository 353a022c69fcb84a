// Report: what the counters of a cache said at one moment.
//
// Each number is read on its own while others count on: what belongs together, a hit and
// its bytes, may be one apart.
#pragma once

#include <optional>
#include <vector>

#include "lock/directory.hpp"
#include "src/clock.hpp"
#include "src/telemetry/row.hpp"

namespace cachectl::telemetry {

struct Report {
  WallTime since;            ///< when counting began, or was reset
  Row others;                ///< all keys that have no entry of their own
  std::vector<Row> entries;  ///< by name

  [[nodiscard]] Row total() const;
  /// Null: nothing was counted of this entry.
  [[nodiscard]] const Row* find(std::string_view name) const;
};

/// nullopt: nothing was counted yet, or by a later version.
[[nodiscard]] std::optional<Report> read_counters(const lock::Directory& root);

}  // namespace cachectl::telemetry
