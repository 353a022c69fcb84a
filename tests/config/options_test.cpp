#include "src/config/options.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "src/config/nearest.hpp"
#include "src/config/value.hpp"

namespace cachectl::config {

TEST_CASE("options: every default is a value of its option") {
  Settings settings;
  for (const Option& option : options()) {
    CAPTURE(std::string(option.key));
    CHECK(assign(settings, option, option.default_text));
  }
}

TEST_CASE("options: a default-constructed Settings holds the defaults of the table") {
  const Settings settings;
  CHECK(settings.root.empty());
  CHECK_FALSE(settings.shared);
  CHECK(settings.durability == Durability::full);
  CHECK(settings.timeout == never);
  CHECK(settings.run_ttl == std::chrono::seconds(60));
  CHECK(settings.run_on_timeout == OnTimeout::fail);
  CHECK(settings.set_ttl == never);
  CHECK(settings.gc_max_size == unlimited);
  CHECK(settings.gc_max_entries == unlimited);
  CHECK(settings.gc_time_limit == never);
}

TEST_CASE(
    "options: no key, no variable and no field is declared twice, and sections stay together") {
  std::set<std::string> keys;
  std::set<std::string> variables;
  std::set<std::string> sections;
  std::string section;
  for (const Option& option : options()) {
    CAPTURE(std::string(option.key));
    CHECK(keys.insert(std::string(option.key)).second);
    CHECK(variables.insert(option.environment).second);
    CHECK(std::string(option.environment).starts_with("CACHECTL_"));
    CHECK_FALSE(option.doc.empty());
    CHECK((option.type == Type::choice) == !option.choices.empty());
    if (section_of(option.key) == section) continue;
    section = section_of(option.key);
    CHECK(sections.insert(section).second);
  }
  for (const Option& one : options()) {
    for (const Option& other : options()) CHECK((&one == &other) == (one.field == other.field));
  }
}

TEST_CASE("options: every value is written as the text that sets it") {
  const auto round_trip = [](std::string_view key, std::string_view text) {
    Settings settings;
    const Option* option = find_option(key);
    REQUIRE(option != nullptr);
    REQUIRE(assign(settings, *option, text));
    return settings.text_of(*option);
  };
  CHECK(round_trip("root", "/a/b") == "/a/b");
  CHECK(round_trip("shared", "true") == "true");
  CHECK(round_trip("durability", "none") == "none");
  CHECK(round_trip("durability", "full") == "full");
  CHECK(round_trip("run.on-timeout", "run") == "run");
  CHECK(round_trip("run.ttl", "90m") == "1h30m");
  CHECK(round_trip("gc.max-size", "5120K") == "5M");
  CHECK(round_trip("gc.max-entries", "1024") == "1024");
}

TEST_CASE("options: a key is found by its full name only") {
  REQUIRE(find_option("run.ttl") != nullptr);
  CHECK(index_of(*find_option("run.ttl")) == 5);
  for (const std::string key : {"", "ttl", "run", "run.", ".ttl", "run.ttl ", "RUN.TTL"}) {
    CHECK(find_option(key) == nullptr);
  }
  CHECK(is_section("gc"));
  CHECK(is_section("redis.cluster"));
  CHECK_FALSE(is_section(""));
  CHECK_FALSE(is_section("root"));
}

TEST_CASE("options: a key in the wrong section is guessed by its name") {
  CHECK(nearest_option("run.tll") == "run.ttl");
  CHECK(nearest_option("ttl") == "run.ttl");
  CHECK(nearest_option("max_size") == "gc.max-size");
  CHECK(nearest_option("gc.ttl") == "run.ttl");
  CHECK_FALSE(nearest_option("colour"));
  CHECK(nearest_section("rnu") == "run");
  CHECK_FALSE(nearest_section("postgres"));
}

}  // namespace cachectl::config
