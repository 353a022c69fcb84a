#include "src/telemetry/report.hpp"

#include <algorithm>

#include "src/telemetry/counter_file.hpp"

namespace cachectl::telemetry {

Row Report::total() const {
  Row sum = others;
  for (const auto& entry : entries) sum += entry;
  return sum;
}

const Row* Report::find(std::string_view name) const {
  const auto kept = name.substr(0, Row::kNameKept);
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const Row& row) { return row.name == kept; });
  return found == entries.end() ? nullptr : &*found;
}

std::optional<Report> read_counters(const lock::Directory& root) {
  const auto file = CounterFile::look(root);
  if (!file) return std::nullopt;
  auto rows = file->rows();
  if (rows.empty()) return std::nullopt;
  Report report;
  report.since = file->since();
  report.others = std::move(rows.front());
  rows.erase(rows.begin());
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.name < b.name; });
  report.entries = std::move(rows);
  return report;
}

}  // namespace cachectl::telemetry
