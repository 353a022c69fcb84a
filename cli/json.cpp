#include "cli/json.hpp"

#include <fmt/format.h>

#include "cli/session.hpp"
#include "src/base64.hpp"

namespace cachectl::cli {

namespace {

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void put_bytes(Json& object, const std::string& name, std::string_view bytes) {
  if (is_utf8(bytes)) {
    object[name] = std::string(bytes);
  } else {
    object[name + "_base64"] = to_base64(bytes);
  }
}

Result<std::optional<std::string>> take_bytes(const Json& object, const std::string& name) {
  const auto encoded = name + "_base64";
  const auto text = object.find(name);
  const auto base64 = object.find(encoded);
  if (text == object.end() && base64 == object.end()) return std::optional<std::string>();
  if (text != object.end() && base64 != object.end()) {
    return fail(Errc::usage, "both " + name + " and " + encoded + " were given");
  }
  const auto& given = text != object.end() ? *text : *base64;
  const auto& field = text != object.end() ? name : encoded;
  if (!given.is_string()) return fail(Errc::usage, field + " is no string");
  auto bytes = given.get<std::string>();
  if (text != object.end()) return std::optional(std::move(bytes));
  auto decoded = from_base64(bytes);
  if (!decoded) return fail(Errc::usage, field + " is no base64");
  return decoded;
}

Result<Json> parse_object(std::string_view text) {
  try {
    auto object = Json::parse(text);
    if (object.is_object()) return object;
    return fail(Errc::usage, "no JSON object");
  } catch (const Json::parse_error& problem) {
    return fail(Errc::usage, "no JSON, at byte " + std::to_string(problem.byte));
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

std::string one_line(const Json& object) {
  auto text = object.dump();
  // U+0080 to U+009F are control characters that JSON does not ask to be escaped, and that
  // terminals obey.
  for (auto at = text.find('\xc2'); at != std::string::npos; at = text.find('\xc2', at + 1)) {
    const auto second = static_cast<unsigned char>(text[at + 1]);
    if (second < 0xA0) text.replace(at, 2, fmt::format("\\u{:04x}", second));
  }
  return text;
}

}  // namespace cachectl::cli
