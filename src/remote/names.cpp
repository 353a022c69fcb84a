#include "src/remote/names.hpp"

#include <fmt/format.h>

namespace cachectl::remote {

std::string Names::chunk(const Key& key, const Frame& head, std::uint64_t number) const {
  return fmt::format("{}:{}-{:016x}:{}", this->head(key), head.stamp.generation, head.random,
                     number);
}

}  // namespace cachectl::remote
