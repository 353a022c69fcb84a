#include "cli/log_line.hpp"

#include "cli/json.hpp"
#include "cli/session.hpp"
#include "src/config/options.hpp"

namespace cachectl::cli {

namespace {

/// Messages are for people: bytes that are no UTF-8 are spelled out.
std::string as_text(const std::string& bytes) { return is_utf8(bytes) ? bytes : escaped(bytes); }

}  // namespace

std::string json_message(const LogMessage& message) {
  Json object;
  object["time"] = iso_time(SystemClock().now());
  object["level"] = config::choices_of(
      *config::find_option("log.level"))[static_cast<std::size_t>(message.level)];
  object["message"] = as_text(message.what.message);
  if (!message.what.advice.empty()) object["advice"] = as_text(message.what.advice);
  if (!message.key.empty()) put_bytes(object, "key", message.key);
  if (!message.path.empty()) put_bytes(object, "path", message.path);
  return one_line(object);
}

}  // namespace cachectl::cli
