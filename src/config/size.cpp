#include "src/config/size.hpp"

#include <algorithm>
#include <cstddef>

#include "lock/number.hpp"
#include "src/config/quoted.hpp"

namespace cachectl::config {

namespace {

constexpr std::string_view prefixes = "KMGT";
constexpr std::string_view size_examples =
    "write bytes or powers of 1024 such as 512, 10K, 5M, 2G, 1T, or unlimited";
constexpr std::string_view count_examples = "write a whole number or unlimited";

constexpr bool is_decimal(char c) { return c >= '0' && c <= '9'; }

tl::unexpected<Error> no_amount(std::string_view text, std::string_view why,
                                std::string_view advice) {
  return fail(Errc::usage, in_quotes(text) + ' ' + std::string(why), std::string(advice));
}

/// The power of 1024 that a suffix stands for; 64 bits' worth when it stands for none.
unsigned shift_of(std::string_view suffix) {
  constexpr unsigned none = 64;
  if (suffix.empty() || suffix == "B") return 0;
  const char letter = suffix[0] >= 'a' ? static_cast<char>(suffix[0] - 'a' + 'A') : suffix[0];
  const std::size_t index = prefixes.find(letter);
  if (index == std::string_view::npos) return none;
  if (suffix.size() > 1 && suffix.substr(1) != "iB") return none;
  return static_cast<unsigned>(index + 1) * 10;
}

/// The number that `digits` spells; `unlimited` when it does not fit.
std::uint64_t number_of(std::string_view digits) {
  std::uint64_t value = 0;
  return parse_number(digits, value) ? value : unlimited;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  if (text.empty()) return fail(Errc::usage, "the size is empty", std::string(size_examples));
  if (text == "unlimited") return unlimited;
  if (text.front() == '-') return no_amount(text, "is negative", size_examples);
  const auto end = std::find_if_not(text.begin(), text.end(), is_decimal);
  const auto length = static_cast<std::size_t>(end - text.begin());
  const unsigned shift = shift_of(text.substr(length));
  if (length == 0 || shift >= 64) return no_amount(text, "is not a size", size_examples);
  const std::uint64_t value = number_of(text.substr(0, length));
  if (value == unlimited || value > (unlimited >> shift)) {
    return no_amount(text, "is too large for a size", "write unlimited");
  }
  return value << shift;
}

Result<std::uint64_t> parse_count(std::string_view text) {
  if (text.empty()) return fail(Errc::usage, "the number is empty", std::string(count_examples));
  if (text == "unlimited") return unlimited;
  if (text.front() == '-') return no_amount(text, "is negative", count_examples);
  if (!std::all_of(text.begin(), text.end(), is_decimal)) {
    return no_amount(text, "is not a whole number", count_examples);
  }
  const std::uint64_t value = number_of(text);
  if (value == unlimited) return no_amount(text, "is too large", "write unlimited");
  return value;
}

std::string format_size(std::uint64_t bytes) {
  if (bytes == unlimited) return "unlimited";
  std::size_t power = 0;
  while (power < prefixes.size() && (bytes >> (10 * (power + 1))) != 0) ++power;
  if (power == 0) return std::to_string(bytes) + " B";
  // Shift first: a tenth of 2^64 times ten does not fit.
  const std::uint64_t tenths = (bytes >> (10 * (power - 1))) * 10 / 1024;
  std::string text = std::to_string(tenths / 10);
  if (tenths % 10 != 0) text += '.' + std::to_string(tenths % 10);
  return text + ' ' + prefixes[power - 1] + "iB";
}

std::string exact_size(std::uint64_t bytes) {
  if (bytes == unlimited) return "unlimited";
  std::size_t power = 0;
  while (bytes != 0 && power < prefixes.size() && bytes % 1024 == 0) {
    bytes /= 1024;
    ++power;
  }
  std::string text = std::to_string(bytes);
  if (power != 0) text += prefixes[power - 1];
  return text;
}

std::string exact_count(std::uint64_t count) {
  return count == unlimited ? "unlimited" : std::to_string(count);
}

}  // namespace cachectl::config
