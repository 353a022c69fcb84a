#include <fmt/format.h>

#include "cli/docgen/completion.hpp"

namespace cachectl::cli {

namespace {

/// In a specification of _arguments, in quotes.
std::string spec(std::string_view text) {
  std::string out;
  for (const char byte : text) {
    if (byte == '[' || byte == ']' || byte == ':' || byte == '\\') out += '\\';
    if (byte == '\'') {
      out += "'\\''";
    } else {
      out += byte;
    }
  }
  return out;
}

std::string action(std::string_view words) {
  if (words.empty()) return " ";
  if (words == "files") return "_files";
  if (words == "directories") return "_directories";
  if (const auto choices = choices_of(words); !choices.empty()) {
    std::string text;
    for (const auto& choice : choices) text += (text.empty() ? "" : " ") + choice;
    return "(" + text + ")";
  }
  if (const auto space = words.find(' '); space != std::string_view::npos) {
    return fmt::format("{{ _alternative \"{0}\\: \\:_cachectl_{0}\" \"{1}\\: \\:_cachectl_{1}\" }}",
                       words.substr(0, space), words.substr(space + 1));
  }
  return "_cachectl_" + std::string(words);
}

std::string option_lines(std::string_view command, const Description::Option& option) {
  std::string all;
  for (const auto& name : option.names) all += (all.empty() ? "" : " ") + name;
  std::string text;
  for (const auto& name : option.names) {
    text += option.repeatable ? "    '*" : "    '(" + all + ")";
    text += name;
    if (!option.meta.empty()) text += name.starts_with("--") ? "=" : "+";
    text += "[" + spec(option.doc) + "]";
    if (!option.meta.empty()) {
      text += ":" + spec(option.meta) + ":" + action(words_of(command, option));
    }
    text += "'\n";
  }
  return text;
}

std::string place_lines(const DescribedCommand& command) {
  const auto& description = command.description;
  std::string text;
  std::size_t number = 0;
  for (const auto& place : description.positionals) {
    ++number;
    // What may be left out may be followed by "--" and a command.
    const bool last = number == description.positionals.size();
    if (last && !place.required &&
        description.command_line == Description::CommandLine::behind_dashes) {
      break;
    }
    text += place.repeatable ? "    '*:" : fmt::format("    '{}:", number);
    text += spec(place.meta) + ":" + action(words_of(command, place)) + "'\n";
  }
  switch (description.command_line) {
    case Description::CommandLine::none:
      break;
    case Description::CommandLine::anywhere:
      text += "    '(-)1:command:_command_names -e'\n    '*::arguments:_normal'\n";
      break;
    case Description::CommandLine::behind_dashes:
      if (number < 2) ++number;
      text +=
          fmt::format("    '{}:command:_command_names -e'\n    '*::arguments:_normal'\n", number);
  }
  return text;
}

}  // namespace

std::string zsh_completion(const Described& all) {
  std::string text;
  text += "_cachectl_commands() {\n  local -a commands\n  commands=(\n";
  for (const auto& command : all.commands) {
    text += fmt::format("    '{}:{}'\n", command.name, spec(command.summary));
  }
  text += "  )\n  _describe -t commands command commands\n}\n\n";

  text +=
      "_cachectl() {\n"
      "  local -a _cachectl_line globals own\n"
      "  local curcontext=$curcontext state state_descr line\n"
      "  typeset -A opt_args\n"
      "  _cachectl_line=($words)\n"
      "  globals=(\n";
  for (const auto& option : all.globals) text += option_lines("", option);
  text +=
      "    '(- *)'{-h,--help}'[Show this help]'\n  )\n"
      "  _arguments -C -s -S $globals '(- *)--version[Print the version]' \\\n"
      "    '(-)1:command:_cachectl_commands' '(-)*::argument:->rest' && return\n"
      "  [[ $state == rest ]] || return\n"
      "  case $words[1] in\n";
  for (const auto& command : all.commands) {
    text += fmt::format("    {}) own=(\n", command.name);
    for (const auto& option : command.description.options) {
      text += option_lines(command.name, option);
    }
    text += place_lines(command) + "    ) ;;\n";
  }
  return text +
         "    *) return 1 ;;\n"
         "  esac\n"
         "  _arguments -s -S : $globals $own\n"
         "}\n\n"
         "_cachectl \"$@\"\n";
}

}  // namespace cachectl::cli
