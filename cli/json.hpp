// JSON for what reports. Bytes that are no UTF-8 cannot be JSON strings: they go into a
// second field, in base64.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lock/result.hpp"
#include "src/store/record.hpp"

namespace cachectl::cli {

using Json = nlohmann::ordered_json;

/// object[name] = bytes, or object[name + "_base64"] where they are no UTF-8.
void put_bytes(Json& object, const std::string& name, std::string_view bytes);

/// The bytes that put_bytes has put there; nullopt: neither field is there. Errc::usage: it is
/// no string, or no base64.
[[nodiscard]] Result<std::optional<std::string>> take_bytes(const Json& object,
                                                            const std::string& name);

/// Errc::usage where the text is not one JSON object, with the place.
[[nodiscard]] Result<Json> parse_object(std::string_view text);

/// created, expires (null: never), age and time left in seconds, sizes, and so on.
void put_header(Json& object, const store::RecordHeader& header, WallTime now);

/// One line, without the newline.
[[nodiscard]] std::string one_line(const Json& object);

}  // namespace cachectl::cli
