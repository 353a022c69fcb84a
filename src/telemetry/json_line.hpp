// JsonLine: one JSON object on one line, for what is appended to a file.
//
// Bytes that are no UTF-8 cannot be JSON strings: they go into a second field, in base64.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace cachectl::telemetry {

class JsonLine {
 public:
  /// Or "NAME_base64".
  void put(std::string_view name, std::string_view bytes);
  void put(std::string_view name, std::uint64_t number);
  void put(std::string_view name, std::int64_t number);
  /// In seconds.
  void put(std::string_view name, std::chrono::nanoseconds duration);

  /// With its newline; nothing can be put then.
  [[nodiscard]] std::string finish() &&;

 private:
  void name(std::string_view name);
  std::string text_ = "{";
};

}  // namespace cachectl::telemetry
