#include "src/config/duration.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "lock/number.hpp"
#include "src/config/quoted.hpp"

namespace cachectl::config {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t nanoseconds;
  bool written;  // weeks are read but never written: "14d" says more than "2w"
};

constexpr std::uint64_t millisecond = 1'000'000;
constexpr std::uint64_t second = 1'000 * millisecond;
constexpr std::array<Unit, 6> units{{
    {"w", 7 * 86'400 * second, false},
    {"d", 86'400 * second, true},
    {"h", 3'600 * second, true},
    {"m", 60 * second, true},
    {"s", second, true},
    {"ms", millisecond, true},
}};

constexpr std::string_view examples = "write a duration such as 30s, 5m, 1h30m, 2d, 500ms or never";

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Removes and returns the longest prefix of `text` that is, or is not, digits.
std::string_view take(std::string_view& text, bool digits) {
  std::size_t length = 0;
  while (length < text.size() && is_digit(text[length]) == digits) ++length;
  const std::string_view taken = text.substr(0, length);
  text.remove_prefix(length);
  return taken;
}

/// The index of the unit, or units.size().
std::size_t find_unit(std::string_view name) {
  std::size_t index = 0;
  while (index < units.size() && units[index].name != name) ++index;
  return index;
}

tl::unexpected<Error> refuse(std::string_view text, std::string_view why,
                             std::string advice = std::string(examples)) {
  return fail(Errc::usage, in_quotes(text) + ' ' + std::string(why), std::move(advice));
}

tl::unexpected<Error> refuse_too_long(std::string_view text) {
  return refuse(text, "is too long for a duration", "write never");
}

/// A number without a unit. After "1h" the next smaller unit is meant, else seconds.
tl::unexpected<Error> refuse_bare(std::string_view text, std::size_t next) {
  if (next >= units.size()) return refuse(text, "has no unit at its end");
  const std::string_view unit = next == 0 ? "s" : units[next].name;
  return refuse(text, "has no unit", "write " + std::string(text) + std::string(unit));
}

/// total += count * unit; false when the sum would reach `never`.
bool add(std::uint64_t& total, std::string_view count, std::uint64_t unit) {
  std::uint64_t value = 0;
  if (!parse_number(count, value)) return false;
  constexpr auto limit =
      static_cast<std::uint64_t>(std::numeric_limits<std::chrono::nanoseconds::rep>::max()) - 1;
  if (value > (limit - total) / unit) return false;
  total += value * unit;
  return true;
}

/// Writes the units of `rest` from the largest to the smallest, at most `limit` adjacent ones.
std::string spell(std::uint64_t rest, std::size_t limit) {
  std::string text;
  std::size_t left = limit;
  for (const Unit& unit : units) {
    if (!unit.written) continue;
    const std::uint64_t count = rest / unit.nanoseconds;
    rest %= unit.nanoseconds;
    if (count != 0) text += std::to_string(count) + std::string(unit.name);
    if (!text.empty() && --left == 0) break;
  }
  return text;
}

/// The sign and the size of a duration; safe for the smallest one too.
std::uint64_t magnitude(std::chrono::nanoseconds duration) {
  const auto count = static_cast<std::uint64_t>(duration.count());
  return duration.count() < 0 ? 0 - count : count;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  if (text.empty()) return fail(Errc::usage, "the duration is empty", std::string(examples));
  if (text == "never") return never;
  if (text == "0") return std::chrono::nanoseconds::zero();
  if (text.front() == '-') return refuse(text, "is negative");

  std::uint64_t total = 0;
  std::size_t smallest = 0;  // units before this one would be out of order
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view count = take(rest, true);
    const std::string_view name = take(rest, false);
    if (count.empty()) return refuse(text, "is not a duration");
    if (name.empty()) return refuse_bare(text, smallest);
    const std::size_t unit = find_unit(name);
    if (unit == units.size()) return refuse(text, "is not a duration");
    if (unit < smallest) return refuse(text, "does not go from the largest unit to the smallest");
    if (!add(total, count, units[unit].nanoseconds)) return refuse_too_long(text);
    smallest = unit + 1;
  }
  return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(total));
}

std::string format_duration(std::chrono::nanoseconds duration) {
  if (duration == never) return "never";
  if (duration == std::chrono::nanoseconds::zero()) return "0";
  const std::string text = spell(magnitude(duration), 2);
  if (text.empty()) return "<1ms";
  return duration.count() < 0 ? '-' + text : text;
}

std::string exact_duration(std::chrono::nanoseconds duration) {
  if (duration == never) return "never";
  const std::string text = spell(magnitude(duration), units.size());
  if (text.empty()) return "0";
  return duration.count() < 0 ? '-' + text : text;
}

}  // namespace cachectl::config
