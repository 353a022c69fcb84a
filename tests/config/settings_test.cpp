#include "src/config/settings.hpp"

#include <string>

#include "src/config/toml_file.hpp"
#include "tests/config/sandbox.hpp"

namespace cachectl::config {

namespace {

const Option& option(std::string_view key) {
  const Option* found = find_option(key);
  REQUIRE(found != nullptr);
  return *found;
}

/// "5m from flag --ttl".
std::string ttl(const Sandbox& sandbox, const Flags& flags = {}) {
  const auto settings = sandbox.load(flags);
  if (!settings) return settings.error().describe();
  const Option& run_ttl = option("run.ttl");
  return settings->text_of(run_ttl) + " from " + settings->origin_of(run_ttl).describe();
}

/// What is said about a named file with this content.
std::string complaint(const std::string& text) {
  const Sandbox sandbox;
  sandbox.write("c.toml", text);
  Flags flags;
  flags.config_file = "c.toml";
  return sandbox.complaint(flags);
}

std::string flag_complaint(const std::string& key, const std::string& value) {
  const Sandbox sandbox;
  Flags flags;
  flags.overrides = {{key, value, "--flag"}};
  return sandbox.complaint(flags);
}

}  // namespace

TEST_CASE("settings: each layer wins over the ones below, and its values say where they are from") {
  Sandbox sandbox;
  CHECK(ttl(sandbox) == "1m from default");
  sandbox.write(sandbox.system_file(), "run.ttl = \"1s\"\n");
  CHECK(ttl(sandbox) == "1s from " + sandbox.system_file() + ":1");
  sandbox.write(sandbox.home_file(), "\nrun.ttl = \"2s\"\n");
  CHECK(ttl(sandbox) == "2s from " + sandbox.home_file() + ":2");
  sandbox.write("cachectl.toml", "[run]\n\nttl = \"3s\"\n");
  CHECK(ttl(sandbox) == "3s from cachectl.toml:3");
  sandbox.write("named.toml", "run.ttl = \"4s\"\n");
  sandbox.set("CACHECTL_CONFIG", "named.toml");
  CHECK(ttl(sandbox) == "4s from named.toml:1");
  sandbox.write("flag.toml", "run.ttl = \"5s\"\n");
  Flags flags;
  flags.config_file = "flag.toml";
  CHECK(ttl(sandbox, flags) == "5s from flag.toml:1");
  sandbox.set("CACHECTL_TTL", "6s");
  CHECK(ttl(sandbox, flags) == "6s from environment CACHECTL_TTL");
  flags.overrides = {{"run.ttl", "7s", "--ttl"}};
  CHECK(ttl(sandbox, flags) == "7s from flag --ttl");
  flags.overrides.push_back({"run.ttl", "8s", "--ttl"});
  CHECK(ttl(sandbox, flags) == "8s from flag --ttl");
}

TEST_CASE("settings: only one of the user's files is read, and always the system's below it") {
  const Sandbox sandbox;
  sandbox.write(sandbox.system_file(), "timeout = \"1s\"\n");
  sandbox.write(sandbox.home_file(), "set.ttl = \"2s\"\n");
  sandbox.write("cachectl.toml", "run.ttl = \"3s\"\n");
  const Settings settings = sandbox.load().value();
  CHECK(settings.timeout == std::chrono::seconds(1));
  CHECK(settings.set_ttl == never);
  CHECK(settings.run_ttl == std::chrono::seconds(3));
  CHECK(settings.files == std::vector<std::string>{sandbox.system_file(), "cachectl.toml"});
}

TEST_CASE("settings: every option can be set in a file, in the environment and by a flag") {
  const auto other = [](const Option& o) -> std::string {
    switch (o.type) {
      case Type::duration:
        return "7s";
      case Type::size:
        return "7K";
      case Type::integer:
        return "7";
      case Type::boolean:
        return "true";
      case Type::path:
        return "/seven";
      case Type::choice:
        return std::string(choices_of(o).back());
      case Type::text:
        return "seven";
      case Type::texts:
        return "seven,eight";
      case Type::real:
      case Type::part:
      case Type::choices:
      case Type::status:
      case Type::command:
      case Type::durations:
      case Type::variables:
        break;  // of entries only
    }
    return {};
  };
  for (const Option& o : options()) {
    CAPTURE(std::string(o.key));
    const std::string value = other(o);
    Sandbox sandbox;
    const bool bare = o.type == Type::boolean || o.type == Type::integer;
    std::string in_file = bare ? value : '"' + value + '"';
    if (o.type == Type::texts) in_file = R"(["seven", "eight"])";
    sandbox.write("cachectl.toml", std::string(o.key) + " = " + in_file + '\n');
    CHECK(sandbox.load().value().text_of(o) == value);
    REQUIRE(::unlink("cachectl.toml") == 0);
    CHECK(sandbox.load().value().origin_of(o).layer == Layer::defaults);
    Flags flags;
    flags.overrides = {{std::string(o.key), value, "--flag"}};
    CHECK(sandbox.load(flags).value().text_of(o) == value);
    sandbox.set(o.environment, value);
    CHECK(sandbox.load().value().text_of(o) == value);
    CHECK(sandbox.load().value().origin_of(o).describe() ==
          std::string("environment ") + o.environment);
  }
}

TEST_CASE("settings: an unknown key is an error with file, line and the nearest name") {
  CHECK(complaint("[run]\n\ntll = \"5m\"\n") ==
        "c.toml:3: unknown key 'run.tll' (did you mean 'run.ttl'?)");
  CHECK(complaint("ttl = \"5m\"") == "c.toml:1: unknown key 'ttl' (did you mean 'run.ttl'?)");
  CHECK(complaint("colour = 1") == "c.toml:1: unknown key 'colour'");
  CHECK(complaint("\"run.ttl\" = \"5m\"") ==
        "c.toml:1: unknown key '\"run.ttl\"' (did you mean 'run.ttl'?)");
  CHECK(complaint("run.ttl.more = 1") ==
        "c.toml:1: run.ttl: expected a duration such as \"30s\", found a section");
}

TEST_CASE("settings: an unknown section is an error, also an empty one") {
  CHECK(complaint("\n[rnu]\nttl = \"5m\"\n") ==
        "c.toml:2: unknown section 'rnu' (did you mean 'run'?)");
  CHECK(complaint("[postgres]\n") == "c.toml:1: unknown section 'postgres'");
  CHECK(complaint("[run.more]\n") == "c.toml:1: unknown section 'run.more'");
  CHECK(complaint("run = 5") == "c.toml:1: 'run' is a section, not a key (write [run])");
  CHECK(complaint("[[run]]") == "c.toml:1: 'run' is a section, not a key (write [run])");
  CHECK(complaint("[run]\n[gc]\n") == "no error");
}

TEST_CASE("settings: the first error of a file is the one that is reported") {
  CHECK(complaint("timeout = \"x\"\n[gc]\nmax-size = \"x\"\n").starts_with("c.toml:1: timeout: "));
  CHECK(complaint("[run]\nttl = \"x\"\n[gc]\nmax-size = \"x\"\n").starts_with("c.toml:2: run.ttl"));
}

TEST_CASE("settings: a value of the wrong type is an error with line and key") {
  CHECK(complaint("\nshared = \"true\"") ==
        "c.toml:2: shared: expected true or false, without quotes, found a string");
  CHECK(complaint("shared = 1") ==
        "c.toml:1: shared: expected true or false, without quotes, found an integer");
  CHECK(complaint("root = 5") == "c.toml:1: root: expected a path in quotes, found an integer");
  CHECK(complaint("timeout = 1.5") ==
        "c.toml:1: timeout: expected a duration such as \"30s\", found a real number");
  CHECK(complaint("timeout = [\"5s\"]").ends_with("found an array"));
  CHECK(complaint("timeout = 10:00:00").ends_with("found a date or time"));
  CHECK(complaint("durability = true") ==
        "c.toml:1: durability: expected full or none, in quotes, found a boolean");
  CHECK(complaint("gc.max-entries = true").ends_with("\"unlimited\", found a boolean"));
}

TEST_CASE("settings: a bad value is an error with line and key") {
  CHECK(complaint("run.ttl = 30") == "c.toml:1: run.ttl: '30' has no unit (write 30s)");
  CHECK(complaint("run.ttl = 0") == "no error");
  CHECK(complaint("durability = \"ful\"") ==
        "c.toml:1: durability: 'ful' is not full or none (did you mean 'full'?)");
  CHECK(complaint("durability = \"\"") ==
        "c.toml:1: durability: '' is not full or none (write full or none)");
  CHECK(complaint("[gc]\nmax-size = -5").starts_with("c.toml:2: gc.max-size: '-5' is negative"));
  CHECK(complaint("gc.max-size = \"5 apples\"").starts_with("c.toml:1: gc.max-size: '5 apples'"));
  CHECK(complaint("gc.max-entries = \"10K\"").ends_with("(write a whole number or unlimited)"));
  CHECK(complaint("run.ttl = \"a\\nb\"").find('\n') == std::string::npos);
  CHECK(complaint("root = \"cache\"") ==
        "c.toml:1: root: 'cache' is not absolute (write /... or ~/...)");
}

TEST_CASE("settings: a value out of the range of its option is an error in every layer") {
  constexpr auto kWrite = " is out of range (write a duration from 1ms to 1h)";
  CHECK(complaint("[redis]\nread-timeout = \"2h\"") ==
        std::string("c.toml:2: redis.read-timeout: '2h'") + kWrite);
  CHECK(complaint("redis.connect-timeout = \"never\"") ==
        std::string("c.toml:1: redis.connect-timeout: 'never'") + kWrite);
  CHECK(complaint("redis.write-timeout = 0") ==
        std::string("c.toml:1: redis.write-timeout: '0'") + kWrite);
  CHECK(complaint("redis.read-timeout = \"1h1ms\"").ends_with(kWrite));
  CHECK(complaint("redis.read-timeout = \"1h\"") == "no error");
  CHECK(complaint("redis.read-timeout = \"1ms\"") == "no error");
  CHECK(complaint("redis.pool-size = 0") ==
        "c.toml:1: redis.pool-size: '0' is out of range (write 1 or more)");
  CHECK(complaint("redis.pool-size = 1") == "no error");
  Sandbox sandbox;
  sandbox.set("CACHECTL_REDIS_CONNECT_TIMEOUT", "2h");
  CHECK(sandbox.complaint() == std::string("CACHECTL_REDIS_CONNECT_TIMEOUT: '2h'") + kWrite);
  CHECK(sandbox.load().error().code == Errc::config);
  CHECK(flag_complaint("redis.pool-size", "0") == "--flag: '0' is out of range (write 1 or more)");
  sandbox.write("bad.toml", "redis.read-timeout = \"never\"\n");
  CHECK_FALSE(check_file("bad.toml", sandbox.environment()));
}

TEST_CASE("settings: no more connections are kept idle than there may be") {
  CHECK(complaint("redis.min-idle = 9") ==
        "c.toml:1: redis.min-idle: 9 is more than redis.pool-size, which is 8 (lower it, or raise "
        "redis.pool-size)");
  CHECK(complaint("redis.min-idle = 9\nredis.pool-size = 9") == "no error");
  CHECK(complaint("redis.min-idle = 2\nredis.pool-size = 1")
            .starts_with("c.toml:1: redis.min-idle: 2 is more"));
  // The layers count together.
  Sandbox sandbox;
  sandbox.write("cachectl.toml", "redis.min-idle = 9\n");
  sandbox.set("CACHECTL_REDIS_POOL_SIZE", "20");
  CHECK(sandbox.load());
  sandbox.set("CACHECTL_REDIS_MIN_IDLE", "21");
  CHECK(
      sandbox.complaint().starts_with("CACHECTL_REDIS_MIN_IDLE: 21 is more than redis.pool-size"));
  CHECK(sandbox.load().error().code == Errc::config);
  CHECK_FALSE(check_file("cachectl.toml", sandbox.environment()));
}

TEST_CASE("settings: a bad variable or flag is named; a flag is an error of usage") {
  Sandbox sandbox;
  sandbox.set("CACHECTL_SHARED", "maybe");
  const auto refused = sandbox.load();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::config);
  CHECK(refused.error().message == "CACHECTL_SHARED: 'maybe' is not true or false");

  CHECK(flag_complaint("run.ttl", "30") == "--flag: '30' has no unit (write 30s)");
  CHECK(flag_complaint("root", "") == "--flag: the path is empty");
  CHECK(flag_complaint("rot", "x") == "--flag: unknown option 'rot' (did you mean 'root'?)");
  Flags flags;
  flags.overrides = {{"durability", "most", "--durability"}};
  CHECK(Sandbox().load(flags).error().code == Errc::usage);
}

TEST_CASE("settings: an empty variable counts as not set") {
  Sandbox sandbox;
  for (const Option& o : options()) sandbox.set(o.environment, "");
  sandbox.set("CACHECTL_CONFIG", "");
  CHECK(ttl(sandbox) == "1m from default");
}

TEST_CASE("settings: a wrong value is an error even where a higher layer overrides it") {
  Sandbox sandbox;
  sandbox.set("CACHECTL_TTL", "5m");
  sandbox.write("cachectl.toml", "run.ttl = \"x\"\n");
  CHECK(sandbox.complaint().starts_with("cachectl.toml:1: run.ttl: 'x'"));
}

TEST_CASE("settings: the root comes from flag, variable, file, XDG or home, and is absolute") {
  Sandbox sandbox;
  const auto root = [&](const Flags& flags = {}) {
    return resolve_root(sandbox.load(flags).value()).value_or("none");
  };
  sandbox.unset("HOME");
  CHECK(root() == "none");
  sandbox.set("HOME", "/home/ada");
  CHECK(root() == "/home/ada/.cache/cachectl");
  sandbox.set("XDG_CACHE_HOME", "/scratch");
  CHECK(root() == "/scratch/cachectl");
  sandbox.write("cachectl.toml", "root = \"~/mine\"\n");
  CHECK(root() == "/home/ada/mine");
  sandbox.set("CACHECTL_ROOT", "below/");
  CHECK(root() == sandbox.path() + "/below");
  Flags flags;
  flags.overrides = {{"root", "./given", "--root"}};
  CHECK(root(flags) == sandbox.path() + "/given");
}

TEST_CASE("settings: no home is no error until a command needs the root") {
  Sandbox sandbox;
  sandbox.unset("HOME");
  const auto settings = sandbox.load();
  REQUIRE(settings);
  const auto root = resolve_root(*settings);
  REQUIRE_FALSE(root);
  CHECK(root.error().code == Errc::config);
  CHECK(root.error().advice == "name one with --root or CACHECTL_ROOT");
}

TEST_CASE("settings: one file can be checked by itself") {
  const Sandbox sandbox;
  sandbox.write("good.toml", "run.ttl = \"5m\"\n");
  sandbox.write("bad.toml", "run.tll = \"5m\"\n");
  CHECK(check_file("good.toml", sandbox.environment()));
  CHECK_FALSE(check_file("bad.toml", sandbox.environment()));
  CHECK_FALSE(check_file("none.toml", sandbox.environment()));
}

}  // namespace cachectl::config
