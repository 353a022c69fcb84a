#include "cli/breaker_words.hpp"

#include <fmt/format.h>

#include "cli/counted.hpp"

namespace cachectl::cli {

std::string text_of(const remote::Breaker::Look& breaker) {
  if (!breaker.is_open) {
    if (breaker.failures == 0) return "closed";
    return fmt::format("closed, {} failed in a row", breaker.failures);
  }
  if (breaker.left.count() == 0) return "open: the next request tries";
  return "open: left alone for " + three_digits(breaker.left);
}

Json json_of(const remote::Breaker::Look& breaker) {
  return {{"open", breaker.is_open},
          {"failures", breaker.failures},
          {"left", std::chrono::duration<double>(breaker.left).count()}};
}

}  // namespace cachectl::cli
