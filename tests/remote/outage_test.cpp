#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>

#include "src/remote/failure.hpp"
#include "tests/remote/fixture.hpp"
#include "tests/support/link.hpp"

namespace cachectl::test {

using remote::Kind;
using std::chrono::milliseconds;

namespace {

struct Failed {
  std::optional<Kind> kind;
  std::string message;
  std::chrono::nanoseconds took{};
};

template <typename Call>
Failed failure_of(Call call) {
  const auto start = std::chrono::steady_clock::now();
  const auto result = call();
  Failed failed{std::nullopt, "it did not fail", std::chrono::steady_clock::now() - start};
  if (!result) {
    failed.kind = remote::kind_of(result.error());
    failed.message = result.error().describe();
  }
  return failed;
}

}  // namespace

TEST_CASE("remote outage: without a server each call is an error of its own kind") {
  const TempDirectory temp;
  Machine here(options_at(temp.file("nobody")));
  const auto key = key_of("k");
  here.put_here(key, "value");
  const auto get = failure_of([&] { return here.fetch(key); });
  CHECK(get.kind == Kind::connection);
  CHECK(get.message.find(temp.file("nobody")) != std::string::npos);
  CHECK(failure_of([&] { return here.publish(key); }).kind == Kind::connection);
  CHECK(failure_of([&] { return here.tier->remove(key); }).kind == Kind::connection);
}

TEST_CASE("remote outage: a server that stops to answer costs the read timeout") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, "value"));
  const bool paused = GENERATE(true, false);
  if (paused) {
    REQUIRE(server.say({"CLIENT", "PAUSE", "60000", "ALL"}) == "OK");
  } else {
    server.stop();
  }
  const auto get = failure_of([&] { return here.fetch(key); });
  CHECK(get.kind == Kind::connection);
  CHECK(get.took >= server.options().read_timeout);
  CHECK(get.took < server.options().read_timeout + allowed_lateness());
  tell_measured(paused ? "CLIENT PAUSE" : "SIGSTOP", get.took, server.options().read_timeout);
  // Its queue still takes connections, and answers none.
  const auto again = failure_of([&] { return here.fetch(key); });
  CHECK(again.kind == Kind::connection);
  CHECK(again.took <
        server.options().connect_timeout + server.options().read_timeout + allowed_lateness());
  tell_measured("the same, connecting", again.took,
                server.options().connect_timeout + server.options().read_timeout);
  if (!paused) {
    server.go_on();
    CHECK(wait_until([&] { return here.seen(key) == here.record(key); }));
  }
}

TEST_CASE("remote outage: a large request to a server that stopped costs both timeouts at most") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  CHECK(here.seen(key) == "miss");
  here.put_here(key, noise(std::size_t{8} * 1000 * 1000));
  server.stop();
  const auto put = failure_of([&] { return here.publish(key); });
  CHECK(put.kind == Kind::connection);
  CHECK(put.took < server.options().write_timeout * 3 + allowed_lateness());
  tell_measured("SIGSTOP, 8 MB written", put.took, server.options().write_timeout * 3);
}

TEST_CASE("remote outage: a server that was killed and comes back empty is a miss at once") {
  RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, "value"));
  auto* const only = must(here.tier->route().find("", here.tier->route().search()));
  REQUIRE(only->pool.idle() == 1);
  server.kill();
  SECTION("seen while it was away") {
    CHECK(failure_of([&] { return here.fetch(key); }).kind == Kind::connection);
    server.start();
    CHECK(wait_until([&] { return here.seen(key) == "miss"; }));
  }
  SECTION("not seen") {
    server.start();
    CHECK(here.seen(key) == "miss");
  }
  // Which has lost the script, too.
  CHECK(*here.publish(key));
  CHECK(here.seen(key) == here.record(key));
}

TEST_CASE("remote outage: a server that has no room says so") {
  const RedisServer server({"--maxmemory", "3mb", "--maxmemory-policy", "noeviction"});
  Machine here(server.options());
  const auto size = GENERATE(std::size_t{4}, std::size_t{20}) * 1000 * 1000;
  const auto key = key_of("k");
  here.put_here(key, noise(size));
  Failed put;
  // The first large one may still get in.
  CHECK(wait_until([&] {
    here.test.clock().advance(std::chrono::seconds(1));
    here.put_here(key, noise(size));
    put = failure_of([&] { return here.publish(key); });
    return put.kind.has_value();
  }));
  CHECK(put.kind == Kind::memory);
  CHECK(put.message.find("maxmemory") != std::string::npos);
  CHECK(put.message.find("script") == std::string::npos);
  // It answers: nothing is wrong with the server.
  for (int i = 0; i < 10; ++i) static_cast<void>(here.publish(key));
  CHECK(here.opened == 0);
  server.say({"FLUSHALL"});
  server.say({"CONFIG", "SET", "maxmemory", "0"});
  CHECK(*here.publish(key));
  CHECK((here.seen(key) == here.record(key)));
}

TEST_CASE("remote outage: a replica that can only be read serves, and refuses to store") {
  RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, "value"));
  server.say({"REPLICAOF", "127.0.0.1", "1"});
  CHECK(here.seen(key) == here.record(key));
  const auto put = failure_of([&] { return here.publish(key); });
  CHECK(put.kind == Kind::cache);
  CHECK(put.message.find("READONLY") != std::string::npos);
  CHECK(failure_of([&] { return here.tier->remove(key); }).kind == Kind::cache);
}

TEST_CASE("remote outage: a wrong password is told, and told to nobody else") {
  const RedisServer server({"--requirepass", "right"});
  auto options = server.options();
  const auto key = key_of("k");
  {
    const Machine none(options);
    const auto get = failure_of([&] { return none.fetch(key); });
    CHECK(get.kind == Kind::cache);
    CHECK(get.message.find("NOAUTH") != std::string::npos);
  }
  options.password = "wr0ng";
  {
    const Machine wrong(options);
    const auto get = failure_of([&] { return wrong.fetch(key); });
    CHECK(get.kind == Kind::cache);
    CHECK(get.message.find("WRONGPASS") != std::string::npos);
    CHECK(get.message.find("wr0ng") == std::string::npos);
  }
  options.password = "right";
  options.server.database = 3;
  Machine right(options);
  REQUIRE(*right.publish(key, "value"));
  CHECK(right.seen(key) == right.record(key));
  CHECK(server.keys().empty());  // of database 0
  options.server.user = "nobody";
  const Machine nobody(options);
  CHECK(failure_of([&] { return nobody.fetch(key); }).kind == Kind::cache);
}

TEST_CASE("remote outage: a database that the server does not have is told, with what to do") {
  const RedisServer server;
  auto options = server.options();
  options.server.database = 99;
  const Machine machine(options);
  const auto get = failure_of([&] { return machine.fetch(key_of("k")); });
  CHECK(get.kind == Kind::cache);
  CHECK(get.message.find("DB index is out of range") != std::string::npos);
  CHECK(get.message.find("choose a lower number in redis.url") != std::string::npos);
}

TEST_CASE("remote outage: something else under our name is an error and not a value") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  here.put_here(key, "value");
  server.say({"LPUSH", name_of(key), "x"});
  const auto get = failure_of([&] { return here.fetch(key); });
  CHECK(get.kind == Kind::cache);
  CHECK(get.message.find("redis.prefix") != std::string::npos);
  CHECK(failure_of([&] { return here.publish(key); }).kind == Kind::cache);
  CHECK(server.say({"LLEN", name_of(key)}) == "1");
}

TEST_CASE("remote outage: after five failures nobody asks, until one tries and finds it back") {
  RedisServer server;
  const auto key = key_of("k");
  auto options = server.options();
  Machine here(options);
  REQUIRE(*here.publish(key, "value"));
  server.kill();
  CHECK(wait_until([&] {
    static_cast<void>(here.fetch(key));
    return here.opened == 1;
  }));
  const auto refused = failure_of([&] { return here.fetch(key); });
  CHECK(refused.kind == Kind::connection);
  CHECK(refused.message.find("left alone") != std::string::npos);
  server.start();
  CHECK(here.seen(key).starts_with("error: "));
  CHECK(wait_until([&] { return here.seen(key) == "miss"; }));
  CHECK(here.closed == 1);
}

}  // namespace cachectl::test
