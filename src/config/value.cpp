#include "src/config/value.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

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

Result<std::size_t> parse_choice(const Option& option, std::string_view text) {
  const std::vector<std::string_view> choices = choices_of(option);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == text) return i;
  }
  const auto guess = nearest(text, choices);
  return fail(Errc::usage, quoted(text) + " is not " + spelled(choices),
              guess ? did_you_mean(guess) : "write " + spelled(choices));
}

Result<bool> parse_boolean(std::string_view text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  return fail(Errc::usage, quoted(text) + " is not true or false", "write true or false");
}

template <typename Member>
Result<void> store(Member& member, Result<std::type_identity_t<Member>> value) {
  CACHECTL_ASSIGN(member, std::move(value));
  return {};
}

template <typename Choice>
requires std::is_enum_v<Choice> Result<void> store_choice(Choice& member, const Option& option,
                                                          std::string_view text) {
  CACHECTL_ASSIGN(const std::size_t index, parse_choice(option, text));
  member = static_cast<Choice>(index);
  return {};
}

/// How each kind of field is parsed.
struct Parser {
  Settings& settings;
  const Option& option;
  std::string_view text;

  Result<void> operator()(std::chrono::nanoseconds Settings::*field) const {
    return store(settings.*field, parse_duration(text));
  }
  Result<void> operator()(std::uint64_t Settings::*field) const {
    return store(settings.*field, option.type == Type::size ? parse_size(text) : parse_count(text));
  }
  Result<void> operator()(bool Settings::*field) const {
    return store(settings.*field, parse_boolean(text));
  }
  Result<void> operator()(std::string Settings::*field) const {
    settings.*field = std::string(text);
    return {};
  }
  template <typename Choice>
  Result<void> operator()(Choice Settings::*field) const {
    return store_choice(settings.*field, option, text);
  }
};

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

Result<void> assign(Settings& settings, const Option& option, std::string_view text) {
  return std::visit(Parser{settings, option, text}, option.field);
}

std::string value_text(const Settings& settings, const Option& option) {
  return std::visit(Writer{settings, option}, option.field);
}

std::string expectation(const Option& option) {
  switch (option.type) {
    case Type::duration:
      return "a duration such as \"30s\"";
    case Type::size:
      return "a size such as \"10M\"";
    case Type::integer:
      return "a whole number or \"unlimited\"";
    case Type::boolean:
      return "true or false, without quotes";
    case Type::path:
      return "a path in quotes";
    case Type::choice:
      return spelled(choices_of(option)) + ", in quotes";
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
      return "number";
    case Type::boolean:
      return "boolean";
    case Type::path:
      return "path";
    case Type::choice:
      return "choice";
  }
  return {};
}

}  // namespace cachectl::config
