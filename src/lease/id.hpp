// The name of a lease: 16 lower-case hexadecimal digits, drawn at random.
#pragma once

#include <string>
#include <string_view>

#include "lock/result.hpp"

namespace cachectl::lease {

class Id {
 public:
  [[nodiscard]] static Result<Id> fresh();
  /// Errc::usage for everything else than such a name: it becomes a part of a path.
  [[nodiscard]] static Result<Id> parse(std::string_view text);

  [[nodiscard]] const std::string& text() const { return text_; }
  /// The socket of its holder, beside the lease file.
  [[nodiscard]] std::string socket() const { return text_ + ".socket"; }

 private:
  explicit Id(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace cachectl::lease
