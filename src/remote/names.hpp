// Names of what we keep in a server: see frame.hpp.
#pragma once

#include <string>

#include "src/key.hpp"
#include "src/remote/frame.hpp"

namespace cachectl::remote {

class Names {
 public:
  explicit Names(std::string prefix) : prefix_(std::move(prefix)) {}

  [[nodiscard]] std::string head(const Key& key) const {
    std::string name;
    name.reserve(prefix_.size() + 34);
    name.append(prefix_) += '{';
    key.hash().append_hex(name);
    name += '}';
    return name;
  }
  [[nodiscard]] std::string chunk(const Key& key, const Frame& head, std::uint64_t number) const;

  /// Where changes are announced: see subscription.hpp.
  [[nodiscard]] std::string channel() const { return prefix_ + "changes"; }

  /// See fleet_lease.hpp.
  [[nodiscard]] std::string lead(const Key& key) const { return head(key) + ":lead"; }
  [[nodiscard]] std::string wake(const Key& key, std::string_view token) const {
    return head(key) + ":wake:" + std::string(token);
  }

 private:
  std::string prefix_;
};

}  // namespace cachectl::remote
