#include "cli/docgen/described.hpp"

#include <algorithm>
#include <array>

#include "cli/command.hpp"

namespace cachectl::cli {

namespace {

struct Rule {
  std::string_view command;  ///< empty: any
  std::string_view place;    ///< the option, or what help calls the argument
  std::string_view words;
};

/// The first that fits.
constexpr auto kRules = std::to_array<Rule>({
    {"run", "--env", "variables"},
    {"", "--strategy", "strategies"},
    {"delete", "--prefix", "keys"},
    {"get", "KEY", "keys entries"},
    {"path", "KEY", "keys entries"},
    {"refresh", "NAME", "entries"},
    {"warm", "NAME", "entries"},
    {"pool", "NAME", "pools"},
    {"", "ENTRY", "entries"},
    {"", "KEY", "keys"},
    {"", "GLOB", "keys"},
    {"", "ID", "leases"},
    {"", "FILE", "files"},
    {"", "PATH", "files"},
    {"", "DIR", "directories"},
    {"help", "COMMAND", "commands"},
});

std::string words_at(std::string_view command, std::string_view place, std::string_view meta) {
  if (meta.find('|') != std::string_view::npos) return std::string(meta);
  for (const auto& rule : kRules) {
    if (!rule.command.empty() && rule.command != command) continue;
    if (rule.place == place || rule.place == meta) return std::string(rule.words);
  }
  return {};
}

/// The first words of the lines of two columns, "exec NAME -- COMMAND  run it", as "exec|...".
std::string actions_in(std::string_view footer) {
  std::string actions;
  while (!footer.empty()) {
    const auto line = footer.substr(0, footer.find('\n'));
    footer.remove_prefix(std::min(line.size() + 1, footer.size()));
    if (line.starts_with(' ') || line.find("  ") == std::string_view::npos) continue;
    actions += (actions.empty() ? "" : "|") + std::string(line.substr(0, line.find(' ')));
  }
  return actions;
}

}  // namespace

Described describe_all() {
  Described all;
  GlobalOptions globals;
  Definition common("cachectl", "");
  globals.define(common);
  all.globals = common.describe().options;
  for (const auto& entry : commands()) {
    const auto command = entry.make();
    Definition definition("cachectl " + std::string(entry.name), std::string(entry.summary));
    command->define(definition);
    auto description = definition.describe();
    // --help is everybody's, and described with the global options.
    auto& options = description.options;
    options.erase(
        std::remove_if(options.begin(), options.end(),
                       [](const auto& option) { return option.names.back() == "--help"; }),
        options.end());
    all.commands.push_back(
        {std::string(entry.name), std::string(entry.summary), std::move(description)});
  }
  return all;
}

std::string words_of(std::string_view command, const Description::Option& option) {
  return words_at(command, option.names.back(), option.meta);
}

std::string words_of(const DescribedCommand& command, const Description::Positional& place) {
  if (place.meta == "ACTION") return actions_in(command.description.footer);
  return words_at(command.name, place.meta, place.meta);
}

std::vector<std::string> choices_of(std::string_view words) {
  std::vector<std::string> choices;
  if (words.find('|') == std::string_view::npos) return choices;
  while (true) {
    const auto word = words.substr(0, words.find('|'));
    choices.emplace_back(word);
    if (word.size() == words.size()) return choices;
    words.remove_prefix(word.size() + 1);
  }
}

}  // namespace cachectl::cli
