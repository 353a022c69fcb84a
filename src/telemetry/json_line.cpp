#include "src/telemetry/json_line.hpp"

#include <fmt/format.h>

#include <utility>

#include "src/key.hpp"

namespace cachectl::telemetry {

namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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

std::string base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const auto group = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t index = 0; index < 3; ++index) {
      bits = bits << 8U | (index < group.size() ? static_cast<unsigned char>(group[index]) : 0U);
    }
    for (std::size_t index = 0; index < 4; ++index) {
      text += index <= group.size() ? kDigits[bits >> (18 - 6 * index) & 63U] : '=';
    }
  }
  return text;
}

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
    append_quoted(text_, base64(bytes));
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
