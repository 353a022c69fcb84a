// The texts that are generated from the table of options: the example file and the
// reference page. A test compares them with the committed files.
#pragma once

#include <string>

namespace cachectl::config {

/// cachectl.toml.example, which is also what `cachectl config init` writes: every option
/// with its meaning, commented out at its default.
[[nodiscard]] std::string example_toml();

/// docs/configuration.md.
[[nodiscard]] std::string reference_markdown();

}  // namespace cachectl::config
