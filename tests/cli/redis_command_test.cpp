// cachectl redis, and what show, status and doctor tell of the server.
#include <signal.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/cli/redis_process.hpp"

namespace cachectl::test {

namespace {

nlohmann::json json_of(const Outcome& outcome) { return nlohmann::json::parse(outcome.output); }

/// Opens the breaker of a host, whose server is gone.
void leave_alone(const Host& host) {
  for (int each = 0; each < 5; ++each) CHECK(host({"get", "nothing"}).status == 1);
}

}  // namespace

TEST_CASE("redis ping: says the round trip and the version, and fails within the limits") {
  RedisProcess server;
  const Host host(server);
  const auto told = host({"redis", "ping"});
  CHECK(told.status == 0);
  CHECK_THAT(told.output, Catch::StartsWith(server.url() + ": answers in "));
  CHECK_THAT(told.output, Catch::EndsWith(", master\n"));
  const auto object = json_of(host({"redis", "ping", "--json"}));
  CHECK(object["server"] == server.url());
  CHECK(object["role"] == "master");
  CHECK(object["seconds"].get<double>() > 0);
  CHECK(host({"redis", "pin"}).status == 2);
  SECTION("stopped") {
    REQUIRE(::kill(server.process().pid(), SIGSTOP) == 0);
    const auto start = std::chrono::steady_clock::now();
    const auto failed = Host(server, Patience::usual)({"redis", "ping"});
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
    REQUIRE(::kill(server.process().pid(), SIGCONT) == 0);
    CHECK(failed.status == 125);
    CHECK_THAT(failed.errors, Catch::Contains(server.url()));
    CHECK(failed.output.empty());
  }
  SECTION("gone, and left alone: it is asked all the same") {
    server.kill();
    leave_alone(host);
    CHECK(host({"redis", "ping"}).status == 125);
    server.start();
    CHECK(host({"redis", "ping"}).status == 0);
  }
  SECTION("none is configured") { CHECK(host.sandbox().run({"redis", "ping"}).status == 2); }
}

TEST_CASE("redis stats: what is there under the prefix, and what this cache got of it") {
  RedisProcess server;
  const Host host(server);
  CHECK(server.say("set foreign value") == "OK\n");
  CHECK(server.say("set 'cachectl:{no hash}' value") == "OK\n");
  for (const auto* key : {"a", "b", "c"}) CHECK(host({"set", key, "value"}).status == 0);
  const Host other(server);
  CHECK(other({"get", "a"}).status == 0);
  CHECK(other({"get", "nothing"}).status == 1);
  const auto told = json_of(other({"redis", "stats", "--json"}));
  REQUIRE(told["servers"].size() == 1);
  const auto& only = told["servers"][0];
  CHECK(only["records"] == 3);
  CHECK(only["record_bytes"] == 3 * (40 + 128 + 1 + 5));
  CHECK(told["requests"] == 2);
  CHECK(told["hit_ratio"] == 0.5);
  CHECK(only["memory_bytes"].get<std::uint64_t>() > 100'000);
  CHECK(only["breaker"]["open"] == false);
  const auto text = other({"redis", "stats"}).output;
  CHECK_THAT(text, Catch::Contains("hits     1 of 2 (50.0 %)\n"));
  CHECK_THAT(text, Catch::Contains("breaker  closed\n"));
  CHECK_THAT(text, Catch::Contains("records  3, "));
}

TEST_CASE("redis flush: removes what is ours under the prefix, and nothing else") {
  RedisProcess server;
  const Host host(server);
  const std::vector<std::string> foreign{"foreign", "cachectl:other", "cachectl:{no hash}",
                                         "cachectl:{00000000000000000000000000000000}other"};
  for (const auto& name : foreign) CHECK(server.say("set '" + name + "' value") == "OK\n");
  for (const auto* key : {"a", "b"}) CHECK(host({"set", key, "value"}).status == 0);
  const auto large = host.sandbox().file("large");
  write_file(large, std::string(9 << 20, 'x'));
  CHECK(host({"set", "large", "--file", large}).status == 0);
  auto elsewhere = host.program({"set", "a", "of others"});
  elsewhere.environment.push_back("CACHECTL_REDIS_PREFIX=cachectl*");
  CHECK(run(elsewhere).status == 0);

  const auto refused = host({"redis", "flush"});
  CHECK(refused.status == 2);
  CHECK_THAT(refused.errors, Catch::Contains("--namespace"));
  CHECK(json_of(host({"redis", "stats", "--json"}))["servers"][0]["records"] == 3);

  // Of "cachectl*" one, though the star fits all of them.
  auto other = host.program({"redis", "flush", "--namespace"});
  other.environment.push_back("CACHECTL_REDIS_PREFIX=cachectl*");
  CHECK(run(other).output == "1\n");
  const auto flushed = host({"redis", "flush", "--namespace"});
  CHECK(flushed.status == 0);
  CHECK(flushed.output == "3\n");
  CHECK(server.say("dbsize") == std::to_string(foreign.size()) + "\n");
  for (const auto& name : foreign) CHECK(server.say("get '" + name + "'") == "value\n");
  CHECK(host({"get", "large"}).output.size() == 9 << 20);  // from disk
}

TEST_CASE("redis flush: thousands, in batches") {
  RedisProcess server;
  const Host host(server);
  CHECK(server.say("eval \"for i = 1, 5000 do redis.call('set', string.format("
                   "'cachectl:{%032x}', i), 'x') redis.call('set', 'other' .. i, 'x') end\" 0") ==
        "\n");
  CHECK(host({"redis", "flush", "--namespace"}).output == "5000\n");
  CHECK(server.say("dbsize") == "5000\n");
}

TEST_CASE("show: tells which tiers have a key, and does not wait for a server that is left alone") {
  RedisProcess server;
  const Host one(server);
  const Host other(server);
  CHECK(one({"set", "k", "value"}).status == 0);
  CHECK(other({"set", "own", "value"}).status == 0);  // there is a cache
  CHECK(json_of(one({"show", "k", "--json"}))["tiers"] == nlohmann::json({"disk", "redis"}));
  CHECK_THAT(one({"show", "k"}).output, Catch::Contains("tiers         disk, redis\n"));
  CHECK(json_of(other({"show", "k", "--json"}))["tiers"] == nlohmann::json({"redis"}));
  CHECK(other({"show", "nothing"}).status == 1);
  CHECK(server.say("flushall") == "OK\n");
  CHECK_THAT(one({"show", "k"}).output, Catch::Contains("tiers         disk\n"));
  CHECK(other({"show", "k"}).status == 1);
  server.kill();
  leave_alone(one);
  const auto shown = one({"show", "k"});
  CHECK(shown.status == 0);
  CHECK(shown.errors.empty());
  CHECK_THAT(shown.output, Catch::Contains("tiers         disk (redis was not asked)\n"));
}

TEST_CASE("status: names the server and whether it is left alone, and makes nothing") {
  RedisProcess server;
  const Host host(server);
  CHECK(host({"set", "k", "value"}).status == 0);
  CHECK(server.say("flushall") == "OK\n");
  CHECK_THAT(host({"status"}).output,
             Catch::Contains("server   " + server.url() + "; breaker closed\n"));
  server.kill();
  leave_alone(host);
  CHECK_THAT(host({"status"}).output, Catch::Contains("; breaker open"));
  const auto told = json_of(host({"status", "--json"}))["servers"][0];
  CHECK(told["address"] == server.url());
  CHECK(told["breaker"]["open"] == true);
  CHECK(told["breaker"]["failures"] == 5);
  CHECK(json_of(host.sandbox().run({"status", "--json"}))["servers"].empty());
}

TEST_CASE("doctor: looks at the server, its memory and what its user may do") {
  RedisProcess server;
  const Host host(server);
  CHECK(host({"set", "k", "value"}).status == 0);
  const auto before = server.say("dbsize");
  auto told = host({"doctor"});
  CHECK(told.status == 0);
  CHECK_THAT(told.output, Catch::Contains("ok       server         Redis "));
  CHECK_THAT(told.output, Catch::Contains("its memory has no limit"));
  CHECK_THAT(told.output, Catch::Contains("may use all commands"));
  CHECK_THAT(told.output, Catch::Contains("its clock agrees"));
  CHECK(server.say("dbsize") == before);
  SECTION("full, and evicting nothing") {
    CHECK(server.say("config set maxmemory 100mb") == "OK\n");
    CHECK_THAT(host({"doctor"}).output, Catch::Contains("it takes no more values"));
    CHECK(server.say("config set maxmemory-policy allkeys-lru") == "OK\n");
    CHECK_THAT(host({"doctor"}).output, Catch::Contains("maxmemory-policy allkeys-lru\n"));
  }
  SECTION("rights are missing") {
    CHECK(server.say("acl setuser default -pexpire -eval") == "OK\n");
    told = host({"doctor"});
    CHECK(told.status == 1);
    CHECK_THAT(told.output,
               Catch::Contains("may not use, on names under the prefix: PEXPIRE EVAL\n"));
  }
  SECTION("the rights that the documentation lists are enough") {
    const auto page = content_of(CACHECTL_SOURCE_DIR "/docs/fleet.md");
    const auto start = page.find("~cachectl:* ");
    REQUIRE(start != std::string::npos);
    auto rights = page.substr(start, page.find('`', start) - start);
    for (std::size_t at = 0; (at = rights.find(' ', at)) != std::string::npos; at += 3) {
      rights.replace(at, 1, "' '");
    }
    CHECK(server.say("acl setuser worker on nopass '" + rights + "'") == "OK\n");
    auto program = host.program({"doctor"});
    program.environment.push_back("CACHECTL_REDIS_USER=worker");
    program.environment.push_back("CACHECTL_REDIS_PASSWORD=any");
    told = run(program);
    INFO(told.output);
    CHECK(told.status == 0);
    CHECK_THAT(told.output, Catch::Contains("may use all commands"));
    CHECK_THAT(told.output, Catch::Contains("its clock agrees"));
    for (const auto* action : {"ping", "stats"}) {
      program.argv.back() = action;
      program.argv.insert(program.argv.end() - 1, "redis");
      CHECK(run(program).status == 0);
      program.argv.erase(program.argv.end() - 2);
    }
  }
  SECTION("a replica") {
    CHECK(server.say("replicaof 127.0.0.1 1") == "OK\n");
    told = host({"doctor"});
    CHECK(told.status == 1);
    CHECK_THAT(told.output, Catch::Contains("it is a replica"));
  }
  SECTION("gone") {
    server.kill();
    told = host({"doctor"});
    CHECK(told.status == 1);
    CHECK_THAT(told.output, Catch::Contains("failure  server         connect to " + server.url()));
  }
}

}  // namespace cachectl::test
