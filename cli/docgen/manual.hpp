// The manual pages, in the man(7) macros.
#pragma once

#include <string>

#include "cli/docgen/described.hpp"

namespace cachectl::cli {

/// cachectl.1
[[nodiscard]] std::string manual_page(const Described& all);

/// cachectl-NAME.1
[[nodiscard]] std::string manual_page(const Described& all, const DescribedCommand& command);

}  // namespace cachectl::cli
