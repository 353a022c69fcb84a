#include "src/config/toml_file.hpp"

#include <catch2/catch.hpp>
#include <string>

namespace cachectl::config {

namespace {

std::string repeat(std::string_view text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

}  // namespace

TEST_CASE("toml_file: a document becomes a flat list in the order of its lines") {
  const auto entries =
      parse_toml("root = \"/c\"\n\n[run]\nttl = \"5m\"\n[gc]\nmax-size = 5\n", "f");
  REQUIRE(entries);
  std::string shown;
  for (const TomlEntry& entry : *entries) {
    shown += std::to_string(entry.line) + ' ' + entry.key + '=' + entry.text + ' ' +
             std::string(describe(entry.kind)) + '\n';
  }
  CHECK(shown ==
        "1 root=/c a string\n"
        "3 run= a section\n"
        "4 run.ttl=5m a string\n"
        "5 gc= a section\n"
        "6 gc.max-size=5 an integer\n");
}

TEST_CASE("toml_file: every kind of value has its name") {
  const auto entries = parse_toml(
      "a = 1\nb = true\nc = 1.5\nd = 2026-01-02\ne = 10:00:00\nf = []\ng = {}\nh = ''\n", "f");
  REQUIRE(entries);
  std::string kinds;
  for (const TomlEntry& entry : *entries) kinds += std::string(describe(entry.kind)) + ';';
  CHECK(kinds ==
        "an integer;a boolean;a real number;a date or time;a date or time;an array;a section;"
        "a string;");
}

TEST_CASE("toml_file: a quoted key with a dot or a newline is one key and one line") {
  const auto entries = parse_toml("\"run.ttl\" = 1\n\"a\\nb\" = 2\n", "f");
  REQUIRE(entries);
  CHECK(entries->at(0).key == "\"run.ttl\"");
  CHECK(entries->at(1).key == "\"a\\x0ab\"");
}

TEST_CASE("toml_file: a syntax error has file and line, and an unquoted value its remedy") {
  const auto complaint = [](const std::string& text) {
    const auto entries = parse_toml(text, "c.toml");
    REQUIRE_FALSE(entries);
    CHECK(entries.error().code == Errc::config);
    CHECK(entries.error().message.find('\n') == std::string::npos);
    return entries.error().describe();
  };
  CHECK_THAT(complaint("\n\n[gc\n"), Catch::StartsWith("c.toml:3: not TOML: "));
  for (const std::string value : {"30s", "10M", "full", "never", "~/c", "/c", "tru"}) {
    CAPTURE(value);
    CHECK_THAT(complaint("a = 1\nb = " + value + "\n"),
               Catch::StartsWith("c.toml:2: ") && Catch::EndsWith("stand in quotes: \"30s\")"));
  }
  CHECK_THAT(complaint("a = 1\na = 2\n"), Catch::StartsWith("c.toml:2: "));
  CHECK_THAT(complaint("a = \"\xff\"\n"), Catch::Contains("utf-8"));
  CHECK_THAT(complaint(std::string("a = \0 1\n", 8)), Catch::StartsWith("c.toml:1: "));
}

TEST_CASE("toml_file: nesting without end is an error and no crash") {
  for (const std::string& text : {"[" + repeat("a.", 30000) + "a]", repeat("a.", 30000) + "a = 1",
                                  "a = " + repeat("[", 60000), "a = " + repeat("{a=", 20000),
                                  repeat("[a]\n", 1) + "x = {" + repeat("a.", 2000) + "b = 1}"}) {
    CHECK_FALSE(parse_toml(text, "f"));
  }
  CHECK(parse_toml(repeat("a.", 1024) + "a = 1", "f"));
  CHECK(parse_toml(repeat("# " + repeat(".", 80) + "\n", 100), "f"));
}

}  // namespace cachectl::config
