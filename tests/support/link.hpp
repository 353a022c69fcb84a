// Link: one end of a line between two processes or threads of a test, for hand-shakes.
//
// Messages keep their borders. Each wait is bounded, so that a broken test fails
// instead of hanging.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "lock/fd.hpp"

namespace cachectl::test {

/// Longer than any machine needs, however loaded.
inline constexpr std::chrono::seconds kPatience{60};

class Link {
 public:
  /// Two connected ends.
  [[nodiscard]] static std::pair<Link, Link> make();

  /// Never blocks; false when the other end is gone.
  bool say(std::string_view message) const;

  /// The next message; "(gone)" when the other end is gone, "(silence)" when nothing came.
  [[nodiscard]] std::string hear(std::chrono::milliseconds patience = kPatience) const;

  void close() { socket_.reset(); }
  [[nodiscard]] int descriptor() const { return socket_.get(); }

 private:
  explicit Link(lock::Fd socket) : socket_(std::move(socket)) {}
  lock::Fd socket_;
};

/// Looks each millisecond until `condition` holds; false: it never did.
[[nodiscard]] bool wait_until(const std::function<bool()>& condition,
                              std::chrono::milliseconds patience = kPatience);

/// Until it holds ten times in a row: a single look may be wrong, or of a passing moment.
[[nodiscard]] bool wait_until_steady(const std::function<bool()>& condition);

}  // namespace cachectl::test
