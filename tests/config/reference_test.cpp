#include "src/config/reference.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/config/sandbox.hpp"

namespace cachectl::config {

namespace {

/// Compares a committed file with its generated text; rewrites it first on request.
void check_committed(const std::string& name, const std::string& generated) {
  const std::string path = std::string(CACHECTL_SOURCE_DIR) + '/' + name;
  if (std::getenv("CACHECTL_TESTS_REGENERATE") != nullptr) std::ofstream(path) << generated;
  std::stringstream committed;
  committed << std::ifstream(path).rdbuf();
  INFO(name << " differs from the table of options: run this test with "
            << "CACHECTL_TESTS_REGENERATE=1 and commit the result");
  CHECK(committed.str() == generated);
}

/// The example with every option's line made active.
std::string uncommented_example() {
  std::istringstream example(example_toml());
  std::string text;
  for (std::string line; std::getline(example, line);) {
    if (line.starts_with("#strategy =")) continue;  // ttl is there, and one excludes the other
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace

TEST_CASE("reference: the committed example is the generated one") {
  check_committed("cachectl.toml.example", example_toml());
}

TEST_CASE("reference: the committed reference page is the generated one") {
  check_committed("docs/configuration.md", reference_markdown());
}

TEST_CASE("reference: the example as it stands changes nothing") {
  const Sandbox sandbox;
  const Settings defaults = sandbox.load().value();
  sandbox.write("cachectl.toml", example_toml());
  const Settings settings = sandbox.load().value();
  CHECK(settings.files.size() == 1);
  for (const Option& option : options()) {
    CHECK(settings.origin_of(option).layer == Layer::defaults);
    CHECK(settings.text_of(option) == defaults.text_of(option));
  }
}

TEST_CASE("reference: the example shows the true default of every option") {
  const Sandbox sandbox;
  const Settings defaults = sandbox.load().value();
  sandbox.write("cachectl.toml", uncommented_example());
  const auto settings = sandbox.load();
  REQUIRE(settings);
  for (const Option& option : options()) {
    CAPTURE(std::string(option.key));
    CHECK(settings->origin_of(option).layer == Layer::file);
    CHECK(settings->text_of(option) == defaults.text_of(option));
  }
}

TEST_CASE("reference: the page names every option, its variable and its choices") {
  const std::string page = reference_markdown();
  for (const Option& option : options()) {
    CAPTURE(std::string(option.key));
    CHECK(page.find("| `" + std::string(option.key) + "` |") != std::string::npos);
    CHECK(page.find('`' + std::string(option.environment) + '`') != std::string::npos);
    for (const std::string_view choice : choices_of(option)) {
      CHECK(page.find('`' + std::string(choice) + '`') != std::string::npos);
    }
  }
}

}  // namespace cachectl::config
