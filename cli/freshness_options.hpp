// The options of run that an entry of a configuration file has too: how long the result of
// a command may be served, and what happens when it fails.
#pragma once

#include <array>
#include <string>

#include "cli/definition.hpp"
#include "src/config/settings.hpp"

namespace cachectl::cli {

class FreshnessOptions {
 public:
  void define(Definition& definition);
  /// As an entry that says the same. Errc::usage: a value does not fit.
  [[nodiscard]] Result<config::EntrySettings> entry(const config::Settings& settings) const;

 private:
  const Definition* definition_ = nullptr;
  bool empty_is_error_ = false;
  std::array<std::string, 13> given_;  // in the order of the table of those options
};

}  // namespace cachectl::cli
