// The owner of what outlives a command: --owner PID and --lease D of acquire and checkout.
#pragma once

#include <chrono>
#include <string>

#include "cli/definition.hpp"
#include "src/lease/lease.hpp"

namespace cachectl::cli {

class OwnerOption {
 public:
  void define(Definition& definition);
  /// The process that was named, or the calling shell.
  [[nodiscard]] Result<lease::Owner> owner() const;
  /// How long it lasts at most; max: as long as the owner lives.
  [[nodiscard]] Result<std::chrono::nanoseconds> duration() const;

 private:
  const Definition* definition_ = nullptr;
  std::string owner_;
  std::string duration_;
};

}  // namespace cachectl::cli
