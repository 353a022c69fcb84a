#include <fmt/format.h>

#include "cli/docgen/completion.hpp"

namespace cachectl::cli {

namespace {

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char byte : text) {
    if (byte == '\'' || byte == '\\') out += '\\';
    out += byte;
  }
  return out + "'";
}

/// The arguments of `complete` that say what words stand there.
std::string offer(std::string_view words) {
  if (words.empty()) return {};
  if (words == "files") return " -F";
  if (words == "commands") return " -a \"$__cachectl_commands\"";
  if (const auto choices = choices_of(words); !choices.empty()) {
    std::string text;
    for (const auto& choice : choices) text += (text.empty() ? "" : " ") + choice;
    return " -a " + in_quotes(text);
  }
  std::string text;
  while (!words.empty()) {
    const auto word = words.substr(0, words.find(' '));
    text += (text.empty() ? "(__cachectl_" : " (__cachectl_") + std::string(word) + ")";
    words.remove_prefix(std::min(word.size() + 1, words.size()));
  }
  return " -a " + in_quotes(text);
}

std::string option_line(std::string_view command, const Description::Option& option,
                        const std::string& condition) {
  std::string text = "complete -c cachectl" + condition;
  for (const auto& name : option.names) {
    text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!option.meta.empty()) {
    const auto words = words_of(command, option);
    text += (words == "files" ? " -r" : " -x") + offer(words);
  }
  return text + " -d " + in_quotes(option.doc) + "\n";
}

}  // namespace

std::string fish_completion(const Described& all) {
  std::string text;
  std::string commands;
  std::string runners;
  for (const auto& command : all.commands) {
    commands += " " + command.name;
    if (command.description.command_line == Description::CommandLine::anywhere) {
      runners += " " + command.name;
    }
  }
  text += fmt::format("set -g __cachectl_commands '{}'\nset -g __cachectl_runners{}\n\n",
                      commands.substr(1), runners);

  const auto valued = [](const std::vector<Description::Option>& options) {
    std::string names;
    for (const auto& option : options) {
      if (option.meta.empty()) continue;
      for (const auto& name : option.names) names += " " + name;
    }
    return names;
  };
  text += "# The options that take a value.\nfunction __cachectl_valued\n";
  text += fmt::format("    printf '%s\\n'{}\n    switch \"$argv[1]\"\n", valued(all.globals));
  for (const auto& command : all.commands) {
    const auto names = valued(command.description.options);
    if (names.empty()) continue;
    text += fmt::format("        case {}\n            printf '%s\\n'{}\n", command.name, names);
  }
  text += "    end\nend\n\n";

  const std::string ours = " -n 'not __cachectl_behind'";
  for (const auto& option : all.globals) text += option_line("", option, ours);
  text += "complete -c cachectl" + ours + " -s h -l help -d 'Show this help'\n";
  text += "complete -c cachectl -n \"__cachectl_at ''\" -l version -d 'Print the version'\n";
  for (const auto& command : all.commands) {
    const auto& name = command.name;
    text += fmt::format("\ncomplete -c cachectl -n \"__cachectl_at ''\" -a {} -d {}\n", name,
                        in_quotes(command.summary));
    for (const auto& option : command.description.options) {
      text += option_line(name, option, fmt::format(" -n '__cachectl_at {}'", name));
    }
    int number = 0;
    for (const auto& place : command.description.positionals) {
      ++number;
      const auto words = words_of(command, place);
      if (words.empty()) continue;
      text += fmt::format("complete -c cachectl -n '__cachectl_at {} {}{}'{} -d {}\n", name, number,
                          place.repeatable ? " more" : "", offer(words), in_quotes(place.doc));
    }
    if (command.description.command_line == Description::CommandLine::anywhere) {
      text += fmt::format(
          "complete -c cachectl -n '__cachectl_at {} 1' -a '(__fish_complete_command)'\n", name);
    }
  }
  return text;
}

}  // namespace cachectl::cli
