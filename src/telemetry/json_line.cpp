#include "src/telemetry/json_line.hpp"

#include <fmt/format.h>

#include <utility>

#include "src/base64.hpp"
#include "src/key.hpp"

namespace cachectl::telemetry {

namespace {

void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') {
      to += '\\';
      to += byte;
    } else if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) {
      to += fmt::format("\\u{:04x}", static_cast<unsigned char>(byte));
    } else {
      to += byte;
    }
  }
  to += '"';
}

}  // namespace

void JsonLine::name(std::string_view name) {
  if (text_.size() > 1) text_ += ',';
  append_quoted(text_, name);
  text_ += ':';
}

void JsonLine::put(std::string_view name, std::string_view bytes) {
  if (is_utf8(bytes)) {
    this->name(name);
    append_quoted(text_, bytes);
  } else {
    this->name(std::string(name) + "_base64");
    append_quoted(text_, to_base64(bytes));
  }
}

void JsonLine::put(std::string_view name, std::uint64_t number) {
  this->name(name);
  text_ += std::to_string(number);
}

void JsonLine::put(std::string_view name, std::int64_t number) {
  this->name(name);
  text_ += std::to_string(number);
}

void JsonLine::put(std::string_view name, std::chrono::nanoseconds duration) {
  this->name(name);
  const auto count = std::max<std::int64_t>(duration.count(), 0);
  text_ += fmt::format("{}.{:09}", count / 1'000'000'000, count % 1'000'000'000);
}

std::string JsonLine::finish() && {
  text_ += "}\n";
  return std::move(text_);
}

}  // namespace cachectl::telemetry
