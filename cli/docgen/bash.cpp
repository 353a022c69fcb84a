#include <fmt/format.h>

#include "cli/docgen/completion.hpp"

namespace cachectl::cli {

namespace {

/// A list of functions as one word of a list.
std::string joined(std::string words) {
  for (auto& byte : words) {
    if (byte == ' ') byte = ',';
  }
  return words;
}

std::string options_of(std::string_view command, const std::vector<Description::Option>& options,
                       bool with_values) {
  std::string text;
  for (const auto& option : options) {
    if (option.meta.empty() == with_values) continue;
    for (const auto& name : option.names) {
      text += (text.empty() ? "" : " ") + name;
      if (with_values) text += ":" + joined(words_of(command, option));
    }
  }
  return text;
}

}  // namespace

std::string bash_completion(const Described& all) {
  std::string text;
  text += "# What a command accepts.\n_cachectl_accepts() {\n  commands='";
  for (const auto& command : all.commands) text += command.name + " ";
  text += fmt::format("'\n  flags='{}' values='{}' places='' line=none\n  case $1 in\n",
                      options_of("", all.globals, false), options_of("", all.globals, true));
  text += "    '') flags+=' --version' ;;\n";
  for (const auto& command : all.commands) {
    const auto& description = command.description;
    text += fmt::format("    {})\n", command.name);
    const auto flags = options_of(command.name, description.options, false);
    const auto values = options_of(command.name, description.options, true);
    if (!flags.empty()) text += fmt::format("      flags+=' {}'\n", flags);
    if (!values.empty()) text += fmt::format("      values+=' {}'\n", values);
    std::string places;
    for (const auto& place : description.positionals) {
      const auto words = joined(words_of(command, place));
      places += (places.empty() ? "" : " ") + (words.empty() ? "-" : words);
      if (place.repeatable) places += '*';
    }
    if (!places.empty()) text += fmt::format("      places='{}'\n", places);
    if (description.command_line == Description::CommandLine::anywhere) {
      text += "      line=anywhere\n";
    } else if (description.command_line == Description::CommandLine::behind_dashes) {
      text += "      line=dashes\n";
    }
    text += "      ;;\n";
  }
  return text + "    *) return 1 ;;\n  esac\n}\n";
}

}  // namespace cachectl::cli
