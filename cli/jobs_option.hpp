// --jobs: how many sources run side by side.
#pragma once

#include <string>

#include "cli/definition.hpp"
#include "src/config/value.hpp"

namespace cachectl::cli {

class JobsOption {
 public:
  void define(Definition& definition) {
    definition.option("--jobs", text_, "N", "Run so many sources at once; 4 by default");
  }
  [[nodiscard]] Result<std::size_t> most() const {
    constexpr std::size_t kMost = 1000;
    const auto number = config::parse_whole(text_, kMost);
    if (number && *number > 0) return static_cast<std::size_t>(*number);
    return fail(Errc::usage, "--jobs: '" + escaped(text_) + "' is not a number from 1 to 1000");
  }

 private:
  std::string text_ = "4";
};

}  // namespace cachectl::cli
