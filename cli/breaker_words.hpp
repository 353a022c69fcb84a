// How the state of the breaker is told.
#pragma once

#include <string>

#include "cli/json.hpp"
#include "src/remote/breaker.hpp"

namespace cachectl::cli {

/// "closed", "open: left alone for 1.2s".
[[nodiscard]] std::string text_of(const remote::Breaker::Look& breaker);

[[nodiscard]] Json json_of(const remote::Breaker::Look& breaker);

}  // namespace cachectl::cli
