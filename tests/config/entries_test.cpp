#include "src/config/entries.hpp"

#include <string>

#include "tests/config/sandbox.hpp"

namespace cachectl::config {

namespace {

Result<Settings> with(const std::string& text) {
  const Sandbox sandbox;
  sandbox.write("cachectl.toml", text);
  return sandbox.load({});
}

std::string complaint(const std::string& text) {
  const auto settings = with(text);
  return settings ? "fine" : settings.error().describe();
}

}  // namespace

TEST_CASE("entries: what a file says about a key is kept under the key's bytes") {
  const auto settings = with(
      "[entries.prices]\n"
      "source = [\"curl\", \"-fsS\", \"https://example.org/prices\"]\n"
      "ttl = \"5m\"\n"
      "[entries.\"user:* \\u0001\"]\n"
      "source = \"date | tr a-z A-Z\"\n"
      "shell = true\n"
      "kind = \"tree\"\n"
      "not-modified = 75\n"
      "pool = { max = 3, reset = \"always\", copy = \"reflink\" }\n");
  REQUIRE(settings);
  REQUIRE(settings->entries.size() == 2);
  const auto& prices = settings->entries.at("prices");
  CHECK(prices.command() == std::vector<std::string>{"curl", "-fsS", "https://example.org/prices"});
  CHECK(prices.ttl == std::chrono::minutes(5));
  CHECK(prices.kind == EntryKind::bytes);
  CHECK_FALSE(prices.not_modified);
  CHECK(prices.pool_max == 8);
  const auto& user = settings->entries.at("user:* \x01");
  CHECK(user.command() == std::vector<std::string>{"/bin/sh", "-c", "date | tr a-z A-Z"});
  CHECK(user.kind == EntryKind::tree);
  CHECK(user.not_modified == 75);
  CHECK(user.pool_max == 3);
  CHECK(user.pool_reset == Reset::always);
  CHECK(user.pool_copy == std::vector<Way>{Way::reflink});
  CHECK(prices.pool_copy.empty());
  const auto list = with("[entries.a.pool]\ncopy = [\"copy\", \"overlay\"]\n");
  REQUIRE(list);
  CHECK(list->entries.at("a").pool_copy == std::vector<Way>{Way::copy, Way::overlay});
  CHECK(user.given.at("pool.max").text == "3");
  CHECK(user.given.at("pool.max").origin == "cachectl.toml:9");
}

TEST_CASE("entries: the user's file wins over the system's, option by option") {
  Sandbox sandbox;
  sandbox.write(sandbox.system_file(), "[entries.a]\nsource = [\"old\"]\nttl = \"1h\"\n");
  sandbox.write("cachectl.toml", "[entries.a]\nsource = [\"new\"]\n");
  const auto settings = sandbox.load({});
  REQUIRE(settings);
  CHECK(settings->entries.at("a").command() == std::vector<std::string>{"new"});
  CHECK(settings->entries.at("a").ttl == std::chrono::hours(1));
}

TEST_CASE("entries: mistakes name the line, and the nearest option") {
  CHECK(
      complaint("[entries.a]\nsorce = [\"x\"]\n") ==
      "cachectl.toml:2: entries.a.sorce: an entry has no option 'sorce' (did you mean 'source'?)");
  CHECK(complaint("[entries.a]\nsource = [\"x\", 1]\n") ==
        "cachectl.toml:2: entries.a.source: expected a list of strings, or with shell = true a "
        "string, found an array");
  CHECK(complaint("[entries.a]\nsource = []\n") ==
        "cachectl.toml:2: entries.a.source: names no command (write [\"command\", \"argument\"])");
  CHECK(complaint("[entries.a]\nsource = \"date -u\"\n") ==
        "cachectl.toml:2: entries.a: the source is a text, and shell is not set (write a list of "
        "strings, or shell = true)");
  CHECK(complaint("[entries.a]\nsource = [\"date\"]\nshell = true\n") ==
        "cachectl.toml:2: entries.a: shell = true, and the source is a list (write one text, or "
        "leave shell out)");
  CHECK(complaint("[entries.a]\nnot-modified = 0\n") ==
        "cachectl.toml:2: entries.a.not-modified: '0' is no exit status that could say so (write "
        "a number from 1 to 255, or \"none\")");
  CHECK(complaint("[entries.a.pool]\nmax = 65\n") ==
        "cachectl.toml:2: entries.a: pool.max is not between 1 and 64");
  CHECK(complaint("[entries.a.pool]\nsize = 9\n") ==
        "cachectl.toml:2: entries.a: pool.size is more than pool.max");
  CHECK(complaint("[entries.a.pool]\ncopy = []\n") ==
        "cachectl.toml:2: entries.a.pool.copy: names no way (write one, or \"auto\")");
  CHECK(complaint("[entries.a.pool]\ncopy = [\"copy\", \"copy\"]\n") ==
        "cachectl.toml:2: entries.a.pool.copy: names 'copy' twice");
  CHECK(complaint("[entries.a.pool]\ncopy = [\"copy\", \"auto\"]\n") ==
        "cachectl.toml:2: entries.a.pool.copy: 'auto' stands alone");
  CHECK(complaint("[entries.a.pool]\ncopy = [\"reflnk\"]\n") ==
        "cachectl.toml:2: entries.a.pool.copy: 'reflnk' is not auto, overlay, snapshot, reflink, "
        "hardlink or "
        "copy (did you mean 'reflink'?)");
  CHECK(complaint("entries = 1\n") ==
        "cachectl.toml:1: entries: expected a section, found an integer (write [entries.NAME])");
  CHECK(complaint("[entries]\na = 1\n") ==
        "cachectl.toml:2: entries.a: expected a section, found an integer (write [entries.NAME])");
  CHECK(complaint("[entries.a.pol]\nmax = 1\n").starts_with("cachectl.toml:1: entries.a.pol: "));
  CHECK(complaint("[entries.\"\"]\n").starts_with("cachectl.toml:1: entries.\"\": "));
}

TEST_CASE("entries: every default is right, and every option has a doc") {
  EntrySettings entry;
  for (const auto& option : entry_options()) {
    CAPTURE(option.key);
    CHECK_FALSE(option.doc.empty());
    CHECK(find_entry_option(option.key) == &option);
    CHECK(option.default_text.empty() == !option.example.empty());
    if (option.default_text.empty()) continue;
    CHECK(option.assign(entry, option, {std::string(option.default_text), {}, false}));
  }
}

}  // namespace cachectl::config
