// One option's value: from text into Settings, and back.
//
// Thread-safe: no state.
#pragma once

#include <string>
#include <string_view>

#include "lock/result.hpp"
#include "src/config/settings.hpp"

namespace cachectl::config {

/// Parses `text` as the type of `option`. Errc::usage, "why" without the key, when it
/// does not fit. A path is taken as it is.
[[nodiscard]] Result<void> assign(Settings& settings, const Option& option, std::string_view text);

/// The text that `assign` would turn into the same value.
[[nodiscard]] std::string value_text(const Settings& settings, const Option& option);

/// "a duration such as 30s": what is expected, for messages.
[[nodiscard]] std::string expectation(const Option& option);

/// "duration": the type for the reference.
[[nodiscard]] std::string_view type_name(Type type);

}  // namespace cachectl::config
