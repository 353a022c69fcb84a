// in_quotes: text from a user inside a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace cachectl::config {

/// 'text', with control characters as \xNN (a message is one line and sends nothing
/// to the terminal but words) and cut after 80 bytes.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// The same in full and without the quotes: for paths and keys.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace cachectl::config
