// The counters as text for Prometheus.
#pragma once

#include <string>

#include "src/telemetry/report.hpp"

namespace cachectl::telemetry {

/// The exposition format 0.0.4, content type "text/plain; version=0.0.4". Entries are
/// labels; entry="" is all other keys. Histograms are coarser than what was counted: a bound
/// each factor of four.
[[nodiscard]] std::string prometheus_text(const Report& report);

}  // namespace cachectl::telemetry
