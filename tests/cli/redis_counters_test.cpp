// What the requests to a Redis server count, and tell the log of events.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/cli/redis_process.hpp"

namespace cachectl::test {

namespace {

nlohmann::json total_of(const Host& host) {
  return nlohmann::json::parse(host({"stats", "--json"}).output)["total"];
}

}  // namespace

TEST_CASE("redis counters: what was asked, given, taken and removed, with its bytes and times") {
  RedisProcess server;
  const Host one(server);
  const Host other(server);
  const std::string value(1000, 'v');
  CHECK(one({"set", "k", value}).status == 0);
  CHECK(other({"get", "k"}).output == value);
  CHECK(other({"get", "k"}).output == value);  // from disk
  CHECK(other({"get", "nothing"}).status == 1);
  CHECK(other({"delete", "k"}).status == 0);

  const auto gave = total_of(one);
  CHECK(gave["remote_publishes"] == 1);
  CHECK(gave["remote_sent_bytes"] == 128 + 1 + 1000);
  CHECK(gave["remote_requests"]["hit"] == 0);
  CHECK(gave["seconds"]["remote"]["count"] == 1);
  const auto took = total_of(other);
  CHECK(took["remote_requests"]["hit"] == 1);
  CHECK(took["remote_requests"]["miss"] == 1);
  CHECK(took["remote_received_bytes"] == 128 + 1 + 1000);
  CHECK(took["remote_removals"] == 1);
  CHECK(took["remote_publishes"] == 0);
  CHECK(took["seconds"]["remote"]["count"] == 3);
  for (const auto& [kind, count] : took["remote_failures"].items()) {
    INFO(kind);
    CHECK(count == 0);
  }
}

TEST_CASE("redis counters: a failure counts under its kind, and one that the breaker spares none") {
  RedisProcess server;
  const Host host(server);
  const auto log = host.sandbox().file("events");
  const auto logged = [&](std::vector<std::string> arguments) {
    auto program = host.program(std::move(arguments));
    program.environment.push_back("CACHECTL_EVENTS_FILE=" + log);
    return run(program);
  };
  CHECK(logged({"set", "k", "value"}).status == 0);
  SECTION("damaged bytes") {
    const Host other(server);
    CHECK_FALSE(server
                    .say("--raw keys '*' | head -n 1 | xargs -I NAME redis-cli -s '" +
                         server.socket() + "' setrange NAME 60 x")
                    .empty());
    CHECK(other({"get", "k"}).status == 1);
    CHECK(total_of(other)["remote_failures"]["serialization"] == 1);
    CHECK(total_of(other)["remote_requests"]["miss"] == 1);
  }
  SECTION("no room") {
    CHECK(server.say("config set maxmemory 1") == "OK\n");
    CHECK(logged({"set", "other", "value"}).status == 0);
    CHECK(total_of(host)["remote_failures"]["memory"] == 1);
  }
  SECTION("another type under our name") {
    const Host other(server);
    CHECK_FALSE(server
                    .say("--raw keys '*' | head -n 1 | xargs -I NAME sh -c 'redis-cli -s \"" +
                         server.socket() + "\" del NAME; redis-cli -s \"" + server.socket() +
                         "\" lpush NAME x'")
                    .empty());
    CHECK(other({"get", "k"}).status == 1);
    CHECK(total_of(other)["remote_failures"]["cache"] == 1);
  }
  SECTION("nobody there, until the breaker opens, and after that") {
    server.kill();
    const auto failures = [&] {
      CHECK(logged({"get", "nothing"}).status == 1);
      return total_of(host)["remote_failures"]["connection"].get<int>();
    };
    for (int each = 1; each <= 5; ++each) CHECK(failures() == each);
    // A trial that is due counts, too.
    auto before = 5;
    CHECK(wait_until([&] { return std::exchange(before, failures()) == before; }));
    const auto total = total_of(host);
    CHECK(total["breaker_changes"]["open"] == 1);
    CHECK(total["breaker_changes"]["closed"] == 0);
    server.start();
    REQUIRE(wait_until([&] {
      CHECK(logged({"get", "nothing"}).status == 1);
      return total_of(host)["breaker_changes"]["closed"] == 1;
    }));
    const auto events = content_of(log);
    CHECK_THAT(events, Catch::Contains("\"event\":\"remote_published\""));
    CHECK_THAT(events, Catch::Contains("\"event\":\"remote_failed_connection\""));
    CHECK_THAT(events, Catch::Contains("\"event\":\"breaker_opened\""));
    CHECK_THAT(events, Catch::Contains("\"event\":\"breaker_closed\""));
    CHECK_THAT(host({"stats", "--format=prometheus"}).output,
               Catch::Contains("cachectl_remote_failures_total{entry=\"\",kind=\"connection\"}"));
  }
}

}  // namespace cachectl::test
