// XXH3-64, in one go or as the bytes come.
#pragma once

#include <cstdint>
#include <memory>

#include "lock/fd.hpp"

namespace cachectl {

[[nodiscard]] std::uint64_t checksum_of(lock::Bytes data);

class Checksum {
 public:
  Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;
  ~Checksum();

  void add(lock::Bytes data);
  [[nodiscard]] std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cachectl
