#include "cli/dispatch.hpp"

#include <fmt/format.h>

#include <array>

#include "cli/command.hpp"
#include "src/config/nearest.hpp"

namespace cachectl::cli {

namespace {

/// Global options may stand before the command; these take a value.
bool takes_value(std::string_view option) {
  constexpr std::array<std::string_view, 6> kWithValue{
      "--root", "--config", "-E", "--timeout-status", "--log-level", "--log-format"};
  for (const auto known : kWithValue) {
    if (option == known) return true;
  }
  return false;
}

/// The index of the first word that is neither an option nor the value of one.
std::size_t position_of_command(const std::vector<std::string>& arguments) {
  std::size_t index = 0;
  while (index < arguments.size() && arguments[index].size() > 1 && arguments[index][0] == '-') {
    index += takes_value(arguments[index]) ? 2 : 1;
  }
  return index;
}

/// A command with its options; stays where it is, since they are bound to its members.
struct Defined {
  explicit Defined(const CommandEntry& entry)
      : command(entry.make()),
        definition("cachectl " + std::string(entry.name), std::string(entry.summary)) {
    command->define(definition);
    globals.define(definition);
  }
  Defined(const Defined&) = delete;
  Defined& operator=(const Defined&) = delete;

  std::unique_ptr<Command> command;
  GlobalOptions globals;
  Definition definition;
};

Error unknown_command(const std::string& name) {
  std::vector<std::string_view> names;
  for (const auto& entry : commands()) names.push_back(entry.name);
  auto advice = config::did_you_mean(config::nearest(name, names));
  if (advice.empty()) advice = "see 'cachectl --help'";
  return {Errc::usage, 0, "unknown command '" + escaped(name) + "'", std::move(advice)};
}

/// Whether all of these are global options.
Result<void> check_globals(const std::vector<std::string>& arguments) {
  Definition definition("cachectl", "");
  GlobalOptions globals;
  globals.define(definition);
  const auto parsed = definition.parse(arguments);
  return parsed ? Result<void>() : fail(parsed.error());
}

/// What says how messages are to be written: also that the rest of the line is wrong.
std::vector<config::Override> format_in(const std::vector<std::string>& arguments) {
  constexpr std::string_view kOption = "--log-format";
  std::vector<config::Override> found;
  for (std::size_t index = 0; index < arguments.size() && arguments[index] != "--"; ++index) {
    const auto& argument = arguments[index];
    if (!argument.starts_with(kOption)) continue;
    if (argument.size() > kOption.size() && argument[kOption.size()] == '=') {
      found.push_back({"log.format", argument.substr(kOption.size() + 1), std::string(kOption)});
    } else if (argument.size() == kOption.size() && index + 1 < arguments.size()) {
      found.push_back({"log.format", arguments[index + 1], std::string(kOption)});
    }
  }
  return found;
}

/// Without a command: --help, --version, or a mistake.
int without_command(Session& session, const std::vector<std::string>& arguments) {
  for (const auto& argument : arguments) {
    if (argument == "-h" || argument == "--help") {
      const auto printed = session.print(overview());
      return printed ? kDone : session.report(printed.error());
    }
    if (argument == "--version") return dispatch({"version"});
  }
  if (const auto right = check_globals(arguments); !right) return session.report(right.error());
  return session.report({Errc::usage, 0, "no command given", "see 'cachectl --help'"});
}

}  // namespace

int dispatch(std::vector<std::string> arguments) {
  Session early({}, format_in(arguments));
  const auto at = position_of_command(arguments);
  if (at >= arguments.size()) return without_command(early, arguments);
  const auto* entry = find_command(arguments[at]);
  if (entry == nullptr) {
    // A mistyped option before it may be why its value looks like a command.
    const std::vector<std::string> before(arguments.begin(),
                                          arguments.begin() + static_cast<std::ptrdiff_t>(at));
    const auto right = check_globals(before);
    return early.report(right ? unknown_command(arguments[at]) : right.error());
  }
  arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(at));

  Defined defined(*entry);
  const auto parsed = defined.definition.parse(std::move(arguments));
  if (!parsed) {
    auto error = parsed.error();
    return early.report(std::move(error).within(entry->name));
  }
  if (*parsed == Definition::Outcome::help) {
    const auto printed = early.print(defined.definition.help());
    return printed ? kDone : early.report(printed.error());
  }
  Session session(defined.globals, defined.definition.overrides());
  if (const auto clear = defined.globals.check(defined.definition); !clear) {
    return session.report(Error(clear.error()).within(entry->name));
  }
  auto status = defined.command->execute(session);
  if (status) return *status;
  return session.report(std::move(status).error().within(entry->name));
}

std::string overview() {
  std::string text =
      "One durable, coalescing cache for shell commands, with lock-free reads\n"
      "Usage: cachectl [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n\n"
      "Commands:\n";
  for (const auto& entry : commands()) {
    text += fmt::format("  {:<10}{}\n", entry.name, entry.summary);
  }
  text +=
      "\nGlobal options, before or after the command:\n"
      "  --root DIR               The directory of the cache\n"
      "  --config FILE            Read this configuration file\n"
      "  -q, --quiet              Errors only: no warnings, and nothing while it waits\n"
      "  -v, --verbose            Say what it does: hits, misses, waits, runs\n"
      "  --log-level LEVEL        error, warning, notice (the default), info, debug\n"
      "  --log-format text|json   Messages as lines for people, or as JSON\n"
      "  -E, --timeout-status N   Exit with N instead of 124 when a deadline passes\n"
      "  -h, --help               Show the help, of a command where one is named\n"
      "  --version                Print the version\n\n"
      "Example:\n"
      "  cachectl run --ttl 1h -- apt-cache dumpavail | grep -c '^Package:'\n";
  return text;
}

Result<std::string> help_of(std::string_view command) {
  const auto* entry = find_command(command);
  if (entry == nullptr) return fail(unknown_command(std::string(command)));
  return Defined(*entry).definition.help();
}

}  // namespace cachectl::cli
