// A page with charts of what an event log says: one file that needs nothing else.
#pragma once

#include <string>
#include <string_view>

#include "cli/event_summary.hpp"

namespace cachectl::cli {

/// HTML with its pictures in it, no scripts, light or dark as the reader has it. `log` is
/// the path that it is named after, `made` the time.
[[nodiscard]] std::string events_page(const EventSummary& summary, std::string_view log,
                                      std::string_view made);

}  // namespace cachectl::cli
