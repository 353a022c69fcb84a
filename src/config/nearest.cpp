#include "src/config/nearest.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace cachectl::config {

namespace {

// Longer words are not typing errors of ours.
constexpr std::size_t longest_word = 64;
using Row = std::array<std::size_t, longest_word + 1>;

/// Damerau-Levenshtein distance in its restricted form (no letter moves twice).
std::size_t distance(std::string_view a, std::string_view b) {
  Row before{};
  Row above{};
  Row row{};
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before = above;
    above = row;
  }
  return above[b.size()];
}

}  // namespace

std::optional<std::string> nearest(std::string_view word,
                                   std::span<const std::string_view> candidates) {
  if (word.empty() || word.size() > longest_word) return std::nullopt;
  std::optional<std::string> best;
  std::size_t fewest = longest_word + 1;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > longest_word) continue;
    const std::size_t allowed = std::max({word.size(), candidate.size(), std::size_t{3}}) / 3;
    const std::size_t errors = distance(word, candidate);
    if (errors <= allowed && errors < fewest) {
      fewest = errors;
      best = std::string(candidate);
    }
  }
  return best;
}

std::string did_you_mean(const std::optional<std::string>& guess) {
  return guess ? "did you mean '" + *guess + "'?" : std::string();
}

}  // namespace cachectl::config
