// Base64 (RFC 4648), padded: bytes that are no UTF-8, in JSON. Thread-safe: no state.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cachectl {

[[nodiscard]] std::string to_base64(std::string_view bytes);

/// nullopt: it is no base64, or not padded as it has to be.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

}  // namespace cachectl
