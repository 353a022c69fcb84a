#include "cli/json.hpp"

#include "cli/session.hpp"

namespace cachectl::cli {

namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void put_bytes(Json& object, const std::string& name, std::string_view bytes) {
  if (is_utf8(bytes)) {
    object[name] = std::string(bytes);
  } else {
    object[name + "_base64"] = base64(bytes);
  }
}

void put_header(Json& object, const store::RecordHeader& header, WallTime now) {
  object["fresh"] = store::is_fresh(header, now);
  object["generation"] = header.generation;
  object["created"] = iso_time(header.created);
  object["age_seconds"] = seconds(now - header.created);
  if (header.expires == kNever) {
    object["expires"] = nullptr;
    object["left_seconds"] = nullptr;
  } else {
    object["expires"] = iso_time(header.expires);
    object["left_seconds"] = seconds(header.expires - now);
  }
  object["kind"] = header.kind == store::Kind::tree ? "tree" : "bytes";
  if (header.kind == store::Kind::tree) object["tree_generation"] = header.tree_generation;
  object["size"] = header.value_size();
  object["stderr_size"] = header.error_size;
  object["exit_status"] = header.exit_status;
  object["source_seconds"] = seconds(header.source_duration);
}

std::string one_line(const Json& object) { return object.dump(); }

}  // namespace cachectl::cli
