#include "src/config/value.hpp"

#include <charconv>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "lock/number.hpp"
#include "src/config/duration.hpp"
#include "src/config/nearest.hpp"
#include "src/config/quoted.hpp"
#include "src/config/size.hpp"

namespace cachectl::config {

namespace {

/// "full or none".
std::string spelled(const std::vector<std::string_view>& choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i != 0) text += i + 1 == choices.size() ? " or " : ", ";
    text += choices[i];
  }
  return text;
}

Result<bool> parse_boolean(std::string_view text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  return fail(Errc::usage, in_quotes(text) + " is not true or false", "write true or false");
}

/// How each kind of field is written.
struct Writer {
  const Settings& settings;
  const Option& option;

  std::string operator()(std::chrono::nanoseconds Settings::*field) const {
    return exact_duration(settings.*field);
  }
  std::string operator()(std::uint64_t Settings::*field) const {
    return option.type == Type::size ? exact_size(settings.*field) : exact_count(settings.*field);
  }
  std::string operator()(bool Settings::*field) const { return settings.*field ? "true" : "false"; }
  std::string operator()(std::string Settings::*field) const { return settings.*field; }
  template <typename Choice>
  std::string operator()(Choice Settings::*field) const {
    return std::string(choices_of(option).at(static_cast<std::size_t>(settings.*field)));
  }
};

}  // namespace

Result<std::size_t> parse_choice(std::string_view choices_text, std::string_view text) {
  const std::vector<std::string_view> choices = choices_in(choices_text);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == text) return i;
  }
  const auto guess = nearest(text, choices);
  return fail(Errc::usage, in_quotes(text) + " is not " + spelled(choices),
              guess ? did_you_mean(guess) : "write " + spelled(choices));
}

Result<std::optional<int>> parse_status(std::string_view text) {
  if (text == "none") return std::optional<int>();
  const auto status = parse_whole(text, 255);
  if (!status || *status == 0) {
    return fail(Errc::usage, in_quotes(text) + " is no exit status that could say so",
                "write a number from 1 to 255, or \"none\"");
  }
  return std::optional<int>(static_cast<int>(*status));
}

std::optional<std::uint64_t> parse_whole(std::string_view text, std::uint64_t most) {
  std::uint64_t value = 0;
  if (!parse_number(text, value) || value > most) return std::nullopt;
  return value;
}

Result<void> parse_value(double& value, Type type, std::string_view, std::string_view text) {
  const bool is_percent = type == Type::part && text.ends_with('%');
  const auto digits = is_percent ? text.substr(0, text.size() - 1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size();
  if (is_percent) value /= 100;
  const double most = type == Type::part ? 1 : 1e9;
  if (is_number && value >= 0 && value <= most) return {};
  return fail(Errc::usage, in_quotes(text) + " is not " + expectation(type, ""));
}

Result<void> parse_value(std::chrono::nanoseconds& value, Type, std::string_view,
                         std::string_view text) {
  CACHECTL_ASSIGN(value, parse_duration(text));
  return {};
}

Result<void> parse_value(std::uint64_t& value, Type type, std::string_view, std::string_view text) {
  CACHECTL_ASSIGN(value, type == Type::size ? parse_size(text) : parse_count(text));
  return {};
}

Result<void> parse_value(bool& value, Type, std::string_view, std::string_view text) {
  CACHECTL_ASSIGN(value, parse_boolean(text));
  return {};
}

Result<void> parse_value(std::string& value, Type, std::string_view, std::string_view text) {
  value = std::string(text);
  return {};
}

Result<void> assign(Settings& settings, const Option& option, std::string_view text) {
  return std::visit(
      [&](auto field) { return parse_value(settings.*field, option.type, option.choices, text); },
      option.field);
}

Result<void> check_range(const Settings& settings, const Option& option, std::string_view text) {
  const auto refuse_value = [&](const char* range) {
    return fail(Errc::usage, in_quotes(text) + " is out of range", std::string("write ") + range);
  };
  if (option.range == Range::positive) {
    const auto* field = std::get_if<std::uint64_t Settings::*>(&option.field);
    if (field != nullptr && settings.**field == 0) return refuse_value("1 or more");
  } else if (option.range == Range::wait) {
    const auto* field = std::get_if<std::chrono::nanoseconds Settings::*>(&option.field);
    const auto wait = field == nullptr ? std::chrono::milliseconds(1) : settings.**field;
    if (wait <= std::chrono::nanoseconds(0) || wait > std::chrono::hours(1)) {
      return refuse_value("a duration from 1ms to 1h");
    }
  }
  return {};
}

std::string value_text(const Settings& settings, const Option& option) {
  return std::visit(Writer{settings, option}, option.field);
}

std::string expectation(Type type, std::string_view choices) {
  switch (type) {
    case Type::duration:
      return "a duration such as \"30s\"";
    case Type::size:
      return "a size such as \"10M\"";
    case Type::integer:
      return "a whole number or \"unlimited\"";
    case Type::real:
      return "a number that is not negative";
    case Type::part:
      return "a number from 0 to 1, or a percentage such as \"10%\"";
    case Type::boolean:
      return "true or false, without quotes";
    case Type::path:
      return "a path in quotes";
    case Type::text:
      return "a text in quotes";
    case Type::texts:
      return "a list of texts in quotes";
    case Type::durations:
      return "a table of durations, such as { \"22\" = \"30s\" }";
    case Type::variables:
      return "a table of texts, such as { LANG = \"C\" }";
    case Type::choice:
      return spelled(choices_in(choices)) + ", in quotes";
    case Type::choices:
      return spelled(choices_in(choices)) + ", in quotes, or a list of them";
    case Type::status:
      return "an exit status or \"none\"";
    case Type::command:
      return "a list of strings, or with shell = true a string";
  }
  return {};
}

std::string_view type_name(Type type) {
  switch (type) {
    case Type::duration:
      return "duration";
    case Type::size:
      return "size";
    case Type::integer:
    case Type::real:
    case Type::part:
      return "number";
    case Type::boolean:
      return "boolean";
    case Type::path:
      return "path";
    case Type::text:
      return "text";
    case Type::texts:
      return "texts";
    case Type::durations:
      return "durations";
    case Type::variables:
      return "variables";
    case Type::choice:
      return "choice";
    case Type::choices:
      return "choices";
    case Type::status:
      return "exit status";
    case Type::command:
      return "command";
  }
  return {};
}

}  // namespace cachectl::config
