// How much a command says on standard error, and in what form.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/cli/support.hpp"

namespace cachectl::test {

namespace {

using Json = nlohmann::json;

Json only_object(const std::string& text) {
  const auto lines = lines_of(text);
  REQUIRE(lines.size() == 1);
  return Json::parse(lines[0]);
}

/// Damages the record of k, so that a read of it warns.
void damage(const Sandbox& sandbox) {
  REQUIRE(sandbox.run({"set", "k", "value"}).status == 0);
  REQUIRE(run(sandbox.shell("f=$(find $CACHECTL_ROOT/entries -type f); printf X | "
                            "dd of=$f bs=1 seek=$(($(stat -c %s $f) - 1)) conv=notrunc"))
              .status == 0);
}

std::string told(const Sandbox& sandbox, std::vector<std::string> arguments) {
  return sandbox.run(std::move(arguments)).errors;
}

}  // namespace

TEST_CASE("log: each level says what is as grave, and --quiet and --verbose are two of them") {
  const Sandbox sandbox;
  damage(sandbox);
  const auto has = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  struct Case {
    std::vector<std::string> options;
    bool warns;
    bool informs;
    bool debugs;
  };
  for (const auto& [options, warns, informs, debugs] :
       {Case{{}, true, false, false}, Case{{"--quiet"}, false, false, false},
        Case{{"--log-level", "error"}, false, false, false},
        Case{{"--log-level=warning"}, true, false, false}, Case{{"-v"}, true, true, false},
        Case{{"--log-level", "info"}, true, true, false},
        Case{{"--log-level", "debug"}, true, true, true}}) {
    auto arguments = options;
    arguments.insert(arguments.end(), {"get", "k"});
    const auto outcome = sandbox.run(arguments);
    CAPTURE(arguments, outcome.errors);
    CHECK(outcome.status == 1);
    CHECK(outcome.output.empty());
    CHECK(has(outcome.errors, "cachectl: warning: ") == warns);
    CHECK(has(outcome.errors, "cachectl: 'k': miss\n") == informs);
    CHECK(has(outcome.errors, "cachectl: cache: " + sandbox.root() + "\n") == debugs);
    // Errors are said by all.
    arguments.back() = std::string(5000, 'k');
    CHECK(has(told(sandbox, arguments), "cachectl: get: "));
  }
  CHECK(sandbox.run({"get", "-q", "-v", "k"}).status == 2);
  CHECK(sandbox.run({"get", "-q", "--log-level", "info", "k"}).status == 2);
  CHECK(has(told(sandbox, {"get", "--log-level", "infos", "k"}), "did you mean 'info'?"));
}

TEST_CASE("log: --verbose says what came of a key, on standard error only") {
  const Sandbox sandbox;
  const std::vector<std::string> run{"-v", "run", "--key", "k", "--", "echo", "v"};
  auto outcome = sandbox.run(run);
  CHECK(outcome.output == "v\n");
  auto lines = lines_of(outcome.errors);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] == "cachectl: 'k': running the source");
  CHECK(lines[1].starts_with("cachectl: 'k': ran for "));
  CHECK(lines[1].find("stored generation ") != std::string::npos);
  outcome = sandbox.run(run);
  CHECK(outcome.output == "v\n");
  CHECK(outcome.errors.starts_with("cachectl: 'k': hit, "));
  CHECK(outcome.errors.find(" old, fresh for ") != std::string::npos);
  CHECK(told(sandbox, {"get", "-v", "k"}).starts_with("cachectl: 'k': hit, "));
  CHECK(told(sandbox, {"delete", "-v", "k"}) == "cachectl: 'k': removed\n");
  CHECK(told(sandbox, {"get", "-v", "k"}) == "cachectl: 'k': miss\n");
  CHECK(told(sandbox, {"set", "-v", "k", "v"}).starts_with("cachectl: 'k': stored generation "));
  CHECK(told(sandbox, {"run", "-v", "--key", "f", "--", "false"})
            .ends_with("cachectl: 'f': ran, exit status 1; not stored\n"));
  // The source is not asked to be verbose.
  CHECK(sandbox.run({"run", "--key", "x", "--", "echo", "-v", "--log-level"}).output ==
        "-v --log-level\n");
}

TEST_CASE("log: --log-format json writes one object a message") {
  const Sandbox sandbox;
  damage(sandbox);
  auto said = only_object(told(sandbox, {"--log-format", "json", "get", "k"}));
  CHECK(said["level"] == "warning");
  CHECK(said["key"] == "k");
  CHECK(said["path"] == sandbox.root());
  CHECK(said["time"].get<std::string>().size() == std::string("2026-11-22T02:06:17.119Z").size());
  CHECK(said["message"].get<std::string>().find("warning") == std::string::npos);

  said =
      only_object(told(sandbox, {"get", "--log-format=json", std::string("a\xff") + "b\n", "-v"}));
  CHECK(said["level"] == "info");
  CHECK(said["key_base64"] == "Yf9iCg==");
  CHECK(said["message"] == "'a\\xffb\\n': miss");
  CHECK_FALSE(said.contains("advice"));
}

TEST_CASE("log: errors of the command line and of the configuration are JSON too") {
  const Sandbox sandbox;
  auto said = only_object(told(sandbox, {"get", "--log-format", "json"}));
  CHECK(said["level"] == "error");
  CHECK(said["message"] == "get: KEY is required");
  CHECK(said["advice"] == "see 'cachectl get --help'");
  CHECK_FALSE(said.contains("key"));
  said = only_object(told(sandbox, {"--log-format=json", "gett"}));
  CHECK(said["advice"] == "did you mean 'get'?");
  auto program = sandbox.cachectl({"get", "k"});
  program.environment.insert(program.environment.end(),
                             {"CACHECTL_LOG_FORMAT=json", "CACHECTL_TIMEOUT=soon"});
  said = only_object(run(program).errors);
  CHECK(said["message"].get<std::string>().find("CACHECTL_TIMEOUT: 'soon'") != std::string::npos);
}

TEST_CASE("log: the configuration sets level and format, and the command line overrides it") {
  const Sandbox sandbox;
  configure(sandbox, "[log]\nlevel = \"info\"\nformat = \"json\"\n");
  CHECK(only_object(told(sandbox, {"get", "k"}))["message"] == "'k': miss");
  CHECK(told(sandbox, {"get", "k", "-q"}).empty());
  CHECK(told(sandbox, {"get", "k", "--log-level", "warning"}).empty());
  CHECK(told(sandbox, {"get", "k", "--log-format", "text"}) == "cachectl: 'k': miss\n");
}

TEST_CASE(
    "events: what commands do is appended to the file that is configured, and gc rotates it") {
  const Sandbox sandbox;
  const auto path = sandbox.file("events");
  configure(sandbox, "[events]\nfile = \"" + path + "\"\nmax-size = \"512\"\n");
  const auto events = [&] {
    std::vector<std::string> names;
    for (const auto& line : lines_of(content_of(path))) {
      const auto event = Json::parse(line);
      CHECK(event["key"] == "k");
      CHECK(event["pid"].get<int>() > 0);
      CHECK(event["entry"].get<std::string>().size() == 32);
      names.push_back(event["event"]);
    }
    return names;
  };
  const auto has = [&](const std::string& name) {
    const auto names = events();
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const std::vector<std::string> run{
      "run", "--key", "k", "--ttl", "1ms", "--stale-while-revalidate", "1h", "--", "echo", "v"};
  CHECK(sandbox.run(run).output == "v\n");
  const auto made = events();
  CHECK(made == std::vector<std::string>{"lock_acquired", "source_started", "source_ended",
                                         "published", "lock_released"});
  CHECK(sandbox.run({"get", "nothing"}).status == 1);
  CHECK(events() == made);
  // Nobody waits for it.
  CHECK(sandbox.run(run).output == "v\n");
  CHECK(wait_until([&] { return has("refresh_ended"); }));
  CHECK(has("stale_refresh"));
  const auto before = content_of(path);
  REQUIRE(before.size() > 512);
  CHECK(sandbox.run({"gc", "--dry-run"}).status == 0);
  CHECK(content_of(path).starts_with(before));
  CHECK(sandbox.run({"gc"}).status == 0);
  CHECK(content_of(path + ".1").starts_with(before));
  CHECK_FALSE(std::filesystem::exists(path));
}

}  // namespace cachectl::test
