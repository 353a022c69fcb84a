#include "cli/docgen/manual.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "cli/exit_status.hpp"
#include "src/config/options.hpp"

namespace cachectl::cli {

namespace {

/// Text as it is, whatever roff makes of its characters. A hyphen stays one that can be copied.
std::string roff(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char byte : text) {
    if (line_begins && (byte == '.' || byte == '\'')) out += "\\&";
    switch (byte) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out += byte;
    }
    line_begins = byte == '\n';
  }
  return out;
}

std::string heading(std::string_view name, std::string_view summary) {
  std::string title(name);
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  // No date: the same sources make the same page.
  return fmt::format(
      ".\\\" Generated from the definitions of the commands by cachectl-docgen.\n"
      ".TH {} 1 \"\" \"cachectl {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n",
      roff(title), roff(CACHECTL_VERSION), roff(name), roff(summary));
}

std::string bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + roff(text) + "\\fR"; }

/// "fail|run" is what to type, "KEY" what stands for something.
std::string meta_text(std::string_view meta) {
  const auto choices = choices_of(meta);
  if (choices.empty()) return italic(meta);
  std::string text;
  for (const auto& choice : choices) text += (text.empty() ? "" : " | ") + bold(choice);
  return text;
}

std::string items(const std::vector<Description::Option>& options) {
  std::string text;
  for (const auto& option : options) {
    text += ".TP\n";
    for (const auto& name : option.names) {
      if (name != option.names.front()) text += ", ";
      text += bold(name);
    }
    if (!option.meta.empty()) text += " " + meta_text(option.meta);
    text += "\n" + roff(option.doc) + (option.repeatable ? " (repeatable)\n" : "\n");
  }
  return text;
}

std::string items(const std::vector<Description::Positional>& places) {
  std::string text;
  for (const auto& place : places) {
    text += ".TP\n" + meta_text(place.meta) + "\n" + roff(place.doc) + "\n";
  }
  return text;
}

/// The two columns of "list [NAME]   the replicas"; npos: it has none.
std::size_t end_of_term(std::string_view line) {
  return line.starts_with(' ') ? std::string_view::npos : line.find("  ");
}

/// The text below a help: paragraphs; lines of two columns, and what continues them; examples,
/// which are indented.
std::string prose(std::string_view footer) {
  enum class Kind { paragraph, term, example } kind = Kind::paragraph;
  std::string text;
  const auto end_example = [&] {
    if (kind == Kind::example) text += ".EE\n.RE\n";
  };
  while (!footer.empty()) {
    const auto line = footer.substr(0, footer.find('\n'));
    footer.remove_prefix(std::min(line.size() + 1, footer.size()));
    const auto indent = std::min(line.find_first_not_of(' '), line.size());
    const auto term = end_of_term(line);
    if (term != std::string_view::npos) {
      end_example();
      const auto rest = line.substr(line.find_first_not_of(' ', term));
      text += ".TP\n" + bold(line.substr(0, term)) + "\n" + roff(rest) + "\n";
      kind = Kind::term;
    } else if (indent > 0 && kind == Kind::term) {
      text += roff(line.substr(indent)) + "\n";
    } else if (indent > 0) {
      if (kind != Kind::example) text += ".PP\n.RS 4\n.EX\n";
      text += roff(line.substr(indent)) + "\n";
      kind = Kind::example;
    } else {
      end_example();
      if (kind != Kind::paragraph) text += ".PP\n";
      text += roff(line) + "\n";
      kind = Kind::paragraph;
    }
  }
  end_example();
  return text;
}

std::string synopsis(const DescribedCommand& command) {
  const auto& description = command.description;
  std::string text = bold("cachectl " + command.name) + " [" + italic("OPTIONS") + "]";
  for (const auto& place : description.positionals) {
    auto one = meta_text(place.meta) + (place.repeatable ? "..." : "");
    text += place.required ? " " + one : " [" + one + "]";
  }
  const auto line = italic("COMMAND") + " [" + italic("ARGUMENT") + "...]";
  switch (description.command_line) {
    case Description::CommandLine::none:
      break;
    case Description::CommandLine::anywhere:
      text += " [" + bold("--") + "] " + line;
      break;
    case Description::CommandLine::behind_dashes:
      text += " [" + bold("--") + " " + line + "]";
  }
  return text + "\n";
}

std::string see_also(const Described& all, std::string_view own) {
  std::string text = ".SH SEE ALSO\n";
  if (!own.empty()) text += "\\fBcachectl\\fR(1)";
  for (const auto& command : all.commands) {
    if (command.name == own || !own.empty()) continue;
    if (text.back() != '\n') text += ",\n";
    text += bold("cachectl-" + command.name) + "(1)";
  }
  return text + "\n";
}

}  // namespace

std::string manual_page(const Described& all, const DescribedCommand& command) {
  const auto& description = command.description;
  auto text = heading("cachectl-" + command.name, command.summary);
  text += ".SH SYNOPSIS\n" + synopsis(command);
  text += ".SH DESCRIPTION\n" +
          (description.footer.empty() ? roff(command.summary) + ".\n" : prose(description.footer));
  if (!description.positionals.empty()) text += ".SH ARGUMENTS\n" + items(description.positionals);
  if (!description.options.empty()) text += ".SH OPTIONS\n" + items(description.options);
  text += ".SH GLOBAL OPTIONS\n" + items(all.globals);
  return text + see_also(all, command.name);
}

std::string manual_page(const Described& all) {
  auto text = heading("cachectl", "one durable, coalescing cache for shell commands");
  text += ".SH SYNOPSIS\n" + bold("cachectl") + " [" + italic("GLOBAL OPTIONS") + "] " +
          italic("COMMAND") + " [" + italic("OPTIONS") + "] [" + italic("ARGUMENTS") + "]\n";
  text +=
      ".SH DESCRIPTION\n"
      "One cache for the shell scripts, CI jobs and cron entries of a machine. Of all who ask for\n"
      "the output of a command at the same time, one runs it; all of them get its output and its\n"
      "exit status, and later calls replay them until they have expired. Reads take no lock, and\n"
      "what was stored survives a power loss.\n"
      ".SH COMMANDS\n";
  for (const auto& command : all.commands) {
    text += ".TP\n" + bold(command.name) + "\n" + roff(command.summary) + "; " +
            bold("cachectl-" + command.name) + "(1)\n";
  }
  text += ".SH GLOBAL OPTIONS\nBefore or after the command:\n" + items(all.globals);
  text += ".TP\n" + bold("--version") + "\nPrint the version\n";
  text += ".SH EXIT STATUS\n";
  for (const auto& row : exit_status_meanings()) {
    std::string meaning(row.meaning);
    meaning.erase(std::remove(meaning.begin(), meaning.end(), '`'), meaning.end());
    text += ".TP\n" + bold(row.status) + "\n" + roff(meaning) + "\n";
  }
  text +=
      ".SH ENVIRONMENT\n"
      "They come after the options and before the configuration:\n";
  for (const auto& option : config::options()) {
    std::string doc(option.doc);
    doc.erase(std::remove(doc.begin(), doc.end(), '`'), doc.end());
    text += ".TP\n" + bold(option.environment) + "\n" + roff(doc) + "\n";
  }
  text += ".SH FILES\n";
  text += ".TP\n" + italic("~/.cache/cachectl") + "\nThe cache, unless a root is configured\n";
  text += ".TP\n" + italic("./cachectl.toml") + ", " + italic("~/.config/cachectl/cachectl.toml") +
          "\nThe configuration of the user; the first that is there\n";
  text += ".TP\n" + italic("/etc/cachectl/cachectl.toml") + "\nThe configuration of the system\n";
  text += ".SH EXAMPLES\n.EX\n" +
          roff(
              "cachectl run --ttl 1h -- apt-cache dumpavail | grep -c '^Package:'\n"
              "cachectl set --ttl 1d greeting hello; cachectl get greeting\n"
              "cachectl lock --timeout 5m -- make install\n") +
          ".EE\n";
  return text + see_also(all, {});
}

}  // namespace cachectl::cli
