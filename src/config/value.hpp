// One option's value: from text into Settings, and back.
//
// Thread-safe: no state.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "lock/result.hpp"
#include "src/config/settings.hpp"

namespace cachectl::config {

/// Parses `text` as the type of `option`. Errc::usage, "why" without the key, when it
/// does not fit. A path is taken as it is.
[[nodiscard]] Result<void> assign(Settings& settings, const Option& option, std::string_view text);

/// Whether what `text` has set is in the range of the option. Errc::usage, likewise.
[[nodiscard]] Result<void> check_range(const Settings& settings, const Option& option,
                                       std::string_view text);

/// The text that `assign` would turn into the same value.
[[nodiscard]] std::string value_text(const Settings& settings, const Option& option);

/// Parses one value. Errc::usage, "why" without the key, when it does not fit.
[[nodiscard]] Result<void> parse_value(std::chrono::nanoseconds& value, Type type,
                                       std::string_view choices, std::string_view text);
[[nodiscard]] Result<void> parse_value(std::uint64_t& value, Type type, std::string_view choices,
                                       std::string_view text);
[[nodiscard]] Result<void> parse_value(bool& value, Type type, std::string_view choices,
                                       std::string_view text);
[[nodiscard]] Result<void> parse_value(std::string& value, Type type, std::string_view choices,
                                       std::string_view text);
[[nodiscard]] Result<void> parse_value(double& value, Type type, std::string_view choices,
                                       std::string_view text);
/// All of the text as a number from 0 to `most`; nullopt: it is none.
[[nodiscard]] std::optional<std::uint64_t> parse_whole(std::string_view text, std::uint64_t most);
/// Which of "full|none" it is.
[[nodiscard]] Result<std::size_t> parse_choice(std::string_view choices, std::string_view text);
template <typename Choice>
requires std::is_enum_v<Choice>
[[nodiscard]] Result<void> parse_value(Choice& value, Type, std::string_view choices,
                                       std::string_view text) {
  CACHECTL_ASSIGN(const std::size_t index, parse_choice(choices, text));
  value = static_cast<Choice>(index);
  return {};
}
/// An exit status from 0 to 255, or "none".
[[nodiscard]] Result<std::optional<int>> parse_status(std::string_view text);

/// "a duration such as 30s": what is expected, for messages.
[[nodiscard]] std::string expectation(Type type, std::string_view choices);

/// "duration": the type for the reference.
[[nodiscard]] std::string_view type_name(Type type);

}  // namespace cachectl::config
