// The manual pages, as man(1) and apropos(1) take them.
#include <catch2/catch.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

std::string page(std::string_view name) {
  return std::string(CACHECTL_GENERATED_DIR) + "/man1/" + std::string(name) + ".1";
}

std::string roff(std::string_view text) {
  std::string out;
  for (const char byte : text) out += byte == '-' ? "\\-" : std::string(1, byte);
  return out;
}

/// The first words of the indented lines of a help, without the commas of "-q,--quiet".
std::vector<std::string> terms(const std::string& help) {
  std::vector<std::string> words;
  for (const auto& line : lines_of(help)) {
    if (!line.starts_with("  ") || line.size() < 3 || line[2] == ' ') continue;
    const auto word = line.substr(2, line.find(' ', 2) - 2);
    words.push_back(word.substr(0, word.find(',')));
  }
  return words;
}

}  // namespace

TEST_CASE("manual: every command has a page with each of its options") {
  const Sandbox sandbox;
  const auto overview = sandbox.run({"help"}).output;
  const auto commands = overview.substr(0, overview.find("\nGlobal options"));
  std::size_t pages = 0;
  for (const auto& command : terms(commands)) {
    const auto text = content_of(page("cachectl-" + command));
    INFO(command);
    REQUIRE_FALSE(text.empty());
    ++pages;
    CHECK(content_of(page("cachectl")).find(roff("cachectl-" + command)) != std::string::npos);
    for (const auto& term : terms(sandbox.run({"help", command}).output)) {
      if (!term.starts_with('-')) continue;
      INFO(term);
      CHECK(text.find("\\fB" + roff(term) + "\\fR") != std::string::npos);
    }
  }
  CHECK(pages >= 20);
}

TEST_CASE("manual: man formats each page without a warning, and apropos finds what it is") {
  const Sandbox sandbox;
  const auto outcome = run(sandbox.shell(
      "export LC_ALL=C.UTF-8\n"
      "for page in " +
      page("*") +
      "; do\n"
      "  man --warnings -E UTF-8 -l -Tutf8 -Z \"$page\" 2>&1 >/dev/null | sed \"s|^|$page: |\"\n"
      "  lexgrog \"$page\" >/dev/null || echo \"$page: apropos would not find it\"\n"
      "done"));
  CHECK(outcome.status == 0);
  CHECK(outcome.output.empty());
  CHECK(outcome.errors.empty());
}

}  // namespace cachectl::test
