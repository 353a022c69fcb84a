// What a message is to a collector of logs.
#pragma once

#include <string>

#include "lock/result.hpp"
#include "src/config/settings.hpp"

namespace cachectl::cli {

struct LogMessage {
  config::LogLevel level;
  const Error& what;
  const std::string& key;  ///< that it is about; empty: none in particular
  std::string path;        ///< of the cache; empty: none was opened
};

/// One JSON object: time, level, message, advice, key, path.
[[nodiscard]] std::string json_message(const LogMessage& message);

}  // namespace cachectl::cli
