// JSON for what reports. Bytes that are no UTF-8 cannot be JSON strings: they go into a
// second field, in base64.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "src/store/record.hpp"

namespace cachectl::cli {

using Json = nlohmann::ordered_json;

/// object[name] = bytes, or object[name + "_base64"] where they are no UTF-8.
void put_bytes(Json& object, const std::string& name, std::string_view bytes);

/// created, expires (null: never), age and time left in seconds, sizes, and so on.
void put_header(Json& object, const store::RecordHeader& header, WallTime now);

/// One line, without the newline.
[[nodiscard]] std::string one_line(const Json& object);

}  // namespace cachectl::cli
