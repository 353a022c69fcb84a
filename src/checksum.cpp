#include "src/checksum.hpp"

// The state lives in an object of ours, which needs its definition.
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

namespace cachectl {

struct Checksum::State {
  XXH3_state_t hash;
};

std::uint64_t checksum_of(lock::Bytes data) { return XXH3_64bits(data.data(), data.size()); }

Checksum::Checksum() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->hash); }
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;
Checksum::~Checksum() = default;

void Checksum::add(lock::Bytes data) {
  XXH3_64bits_update(&state_->hash, data.data(), data.size());
}

std::uint64_t Checksum::value() const { return XXH3_64bits_digest(&state_->hash); }

}  // namespace cachectl
