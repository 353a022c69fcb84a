// NotifySocket: what a service manager hears.
#pragma once

#include <string>
#include <vector>

#include "tests/support/link.hpp"

namespace cachectl::test {

class NotifySocket {
 public:
  /// Listens at a path, or at the abstract name behind '@'. Throws when it cannot.
  explicit NotifySocket(std::string name);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// The next datagram; "(silence)" when none came.
  [[nodiscard]] std::string next(std::chrono::milliseconds patience = kPatience) const;
  /// Reads on until a datagram begins with `text`; false: none did.
  [[nodiscard]] bool hears(const std::string& text,
                           std::chrono::milliseconds patience = kPatience) const;
  /// All that have come so far.
  [[nodiscard]] std::vector<std::string> rest() const;

 private:
  std::string name_;
  lock::Fd socket_;
};

}  // namespace cachectl::test
