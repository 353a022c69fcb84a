// A master dies, and its replica takes over.
#include <fmt/format.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "src/remote/failure.hpp"
#include "src/remote/fleet_lease.hpp"
#include "src/remote/subscription.hpp"
#include "tests/remote/cluster_servers.hpp"

namespace cachectl::test {

namespace {

/// Publishes a value under each key and takes it back; `at_a_third` is called on the way. Whatever
/// was published is then there as it was, or missing.
void check_pairs(Machine& here, const std::vector<Key>& keys,
                 const std::function<void()>& at_a_third) {
  const auto options = here.tier->route().options();
  const auto most = 2 * options.connect_timeout + 2 * options.read_timeout + options.write_timeout +
                    allowed_lateness();
  std::vector<bool> is_acknowledged(keys.size());
  std::vector<std::string> wrong;
  std::chrono::nanoseconds longest{};
  int failed = 0;
  const auto timed = [&](const auto& call) {
    const auto start = std::chrono::steady_clock::now();
    auto result = call();
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - start);
    return result;
  };
  const auto fetch = [&](const Key& key) {
    auto got = timed([&] { return here.fetch(key); });
    if (!got && remote::kind_of(got.error()) != remote::Kind::connection) {
      wrong.push_back(got.error().describe());
    }
    if (got && *got && **got != here.record(key)) wrong.push_back("the value of " + key.bytes());
    return got;
  };
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i == keys.size() / 3) at_a_third();
    const auto put = timed([&] { return here.publish(keys[i], "value of " + keys[i].bytes()); });
    is_acknowledged[i] = put.has_value() && *put;
    failed += put ? 0 : 1;
    if (!put && remote::kind_of(put.error()) != remote::Kind::connection) {
      wrong.push_back(put.error().describe());
    }
    static_cast<void>(fetch(keys[i]));
  }
  // What was acknowledged is there, or was not copied in time.
  int lost = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    bool is_there = false;
    CHECK(wait_until([&] {
      const auto got = fetch(keys[i]);
      is_there = got && *got;
      return got.has_value();
    }));
    if (is_acknowledged[i] && !is_there) ++lost;
  }
  int missing = 0;
  for (std::size_t i = 0; i < keys.size(); i += 10) {
    if (!here.publish(keys[i])) wrong.push_back("cannot be published");
    const auto got = fetch(keys[i]);
    missing += got && *got ? 0 : 1;
  }
  std::string all;
  for (const auto& what : wrong) all += what + '\n';
  CHECK(all.empty());
  CHECK(missing == 0);
  CHECK(here.warnings.empty());
  CHECK(longest < most);
  CHECK(failed > 0);
  CHECK(lost < failed);
  tell_measured(fmt::format("failover, {} of {} not taken meanwhile, {} of the others lost", failed,
                            keys.size(), lost),
                longest, most);
}

std::vector<Key> keys_named(std::size_t count) {
  std::vector<Key> keys;
  keys.reserve(count);
  for (std::size_t i = 0; i < count; ++i) keys.push_back(key_of("pair-" + std::to_string(i)));
  return keys;
}

}  // namespace

TEST_CASE("remote failover: a cluster goes on by itself, and no value of 10,000 is wrong") {
  RedisCluster cluster(1);
  Machine here(cluster.options());
  check_pairs(here, keys_named(10'000), [&] { cluster.node(1).kill(); });
}

TEST_CASE("remote failover: sentinels name another master, and no value is wrong") {
  RedisSentinels servers;
  Machine here(servers.options());
  check_pairs(here, keys_named(5000), [&] { servers.first().kill(); });
  CHECK(servers.second().ask_list({"ROLE"}).at(0) == "master");
}

TEST_CASE("remote failover: a master that becomes a replica is asked no more") {
  RedisSentinels servers;
  auto limited = servers.options();
  limited.server.user = "ci";
  limited.password = "pw";
  servers.first().allow("ci", "pw");
  servers.second().allow("ci", "pw");
  Machine here(limited);
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, "value"));
  CHECK(wait_until([&] {
    return servers.sentinel(0).say({"SENTINEL", "FAILOVER", "mymaster"}) == "OK";
  }));
  CHECK(wait_until([&] { return servers.all_name_second(); }));
  // The connection that is open stays so, to one that may only be read.
  servers.first().say({"REPLICAOF", "127.0.0.1", std::to_string(servers.port_of_second())});
  here.test.clock().advance(std::chrono::milliseconds(1));
  REQUIRE(*here.publish(key, "another"));
  CHECK(here.seen(key) == here.record(key));
  CHECK(servers.second().number({"EXISTS", name_of(key)}) == 1);
}

TEST_CASE(
    "remote failover: who waits for a leader goes on to wait where another server took over") {
  RedisSentinels servers;
  Machine one(servers.options());
  Machine other(servers.options());
  const auto key = key_of("k");
  auto lease = must(remote::FleetLease::lead(*one.tier, key, lock::Deadline::never()));
  REQUIRE(lease);
  REQUIRE(wait_until([&] {
    return servers.second().number({"EXISTS", name_of(key) + ":lead"}) == 1;
  }));
  std::optional<bool> leads;
  std::thread waiter([&] {
    const auto led = remote::FleetLease::lead(*other.tier, key, lock::Deadline::never());
    if (led) leads = *led != nullptr;
  });
  const auto waits = [&](const RedisServer& server) {
    return server.say({"CLIENT", "LIST"}).find("cmd=blmove") != std::string::npos;
  };
  CHECK(wait_until([&] { return waits(servers.first()); }));
  CHECK(wait_until([&] {
    return servers.sentinel(0).say({"SENTINEL", "FAILOVER", "mymaster"}) == "OK";
  }));
  CHECK(wait_until([&] { return servers.all_name_second(); }));
  servers.first().say({"REPLICAOF", "127.0.0.1", std::to_string(servers.port_of_second())});
  CHECK(wait_until([&] { return waits(servers.second()); }));
  lease.reset();
  waiter.join();
  CHECK(leads == false);  // somebody was done
}

TEST_CASE("remote failover: who follows the news follows them from the server that took over") {
  RedisSentinels servers;
  Machine here(servers.options());
  Machine other(servers.options());
  remote::Subscription subscription(*other.tier);
  const lock::Fd never(::eventfd(0, EFD_CLOEXEC));
  using What = remote::Subscription::News::What;
  CHECK(must(subscription.next(never.get())).what == What::begun);
  const bool is_killed = GENERATE(true, false);
  is_killed ? servers.first().kill() : servers.first().stop();
  CHECK(wait_until([&] { return servers.all_name_second(); }));
  CHECK(wait_until([&] {
    const auto news = subscription.next(never.get());
    return news && news->what == What::begun;
  }));
  const auto key = key_of("k");
  CHECK(wait_until([&] { return here.publish(key, "value").has_value(); }));
  const auto news = must(subscription.next(never.get()));
  CHECK(news.what == What::changed);
  CHECK(news.hash == key.hash());
}

TEST_CASE("remote failover: who says that it is no master is not taken for one") {
  const RedisServer server;
  auto options = server.options();
  options.topology = remote::Topology::sentinel;
  CHECK(remote::Connection(options).connect());
  server.say({"REPLICAOF", "127.0.0.1", "1"});
  const auto connected = remote::Connection(options).connect();
  REQUIRE_FALSE(connected);
  CHECK(connected.error().code == Errc::unreachable);
  CHECK(connected.error().describe().find("not the master") != std::string::npos);
}

TEST_CASE("remote failover: a sentinel that is dead, or knows no such master, is passed over") {
  RedisSentinels servers;
  auto options = servers.options();
  servers.sentinel(0).kill();
  servers.sentinel(1).stop();
  const auto key = key_of("k");
  for (int i = 0; i < 8; ++i) {
    Machine here(options);
    CHECK(here.seen(key) == "miss");
  }
  options.master = "nobody";
  const Machine wrong(options);
  const auto got = wrong.fetch(key);
  REQUIRE_FALSE(got);
  CHECK(got.error().describe().find("redis.sentinel.name") != std::string::npos);
}

}  // namespace cachectl::test
