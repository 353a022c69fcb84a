#include "src/remote/server.hpp"

#include <catch2/catch.hpp>

#include "tests/remote/cluster_servers.hpp"

namespace cachectl::test {

namespace {

std::uint64_t records_of(const remote::Options& options) {
  std::uint64_t records = 0;
  for (const auto& master : must(remote::masters(options))) {
    remote::Connection server(master);
    records += must(remote::holdings(server, master.prefix)).records;
  }
  return records;
}

}  // namespace

TEST_CASE("server: of a cluster all masters are looked at, and emptied") {
  RedisCluster cluster;
  Machine here(cluster.options());
  for (std::size_t home = 0; home < cluster.size(); ++home) {
    REQUIRE(*here.publish(cluster.key_at(home), "value"));
    REQUIRE(*here.publish(cluster.key_at(home), noise(std::size_t{9} * 1000 * 1000)));
  }
  CHECK(must(remote::masters(cluster.options(1))).size() == RedisCluster::kMasters);
  CHECK(records_of(cluster.options()) == 6);
  std::uint64_t removed = 0;
  for (const auto& master : must(remote::masters(cluster.options()))) {
    remote::Connection server(master);
    CHECK(must(remote::facts_of(server)).is_at_least(6, 2));
    CHECK(must(remote::refused_commands(server, master.prefix)).empty());
    removed += must(remote::flush(server, master.prefix));
  }
  CHECK(removed == 6);
  CHECK(records_of(cluster.options()) == 0);
  for (std::size_t node = 0; node < cluster.size(); ++node) {
    CHECK(cluster.node(node).keys().empty());
  }
}

TEST_CASE("server: a seed that is gone is passed over") {
  RedisCluster cluster;
  cluster.node(0).kill();
  CHECK(must(remote::masters(cluster.options())).size() == RedisCluster::kMasters);
  CHECK_FALSE(remote::masters(cluster.options(1)));
}

TEST_CASE("server: of a master that sentinels watch, that one is looked at") {
  RedisSentinels sentinels;
  const auto found = must(remote::masters(sentinels.options()));
  REQUIRE(found.size() == 1);
  remote::Connection server(found.front());
  CHECK(must(remote::facts_of(server)).role == "master");
}

TEST_CASE("server: versions are compared as numbers") {
  remote::ServerFacts facts;
  const auto is_at_least = [&](const char* version) {
    facts.version = version;
    return facts.is_at_least(6, 2);
  };
  CHECK(is_at_least("6.2.0"));
  CHECK(is_at_least("6.10.1"));
  CHECK(is_at_least("7.0"));
  CHECK(is_at_least("10.0.1"));
  CHECK_FALSE(is_at_least("6.1.99"));
  CHECK_FALSE(is_at_least("5.9.9"));
  CHECK_FALSE(is_at_least(""));
  CHECK_FALSE(is_at_least("new"));
}

TEST_CASE("server: its clock is compared with ours") {
  RedisServer redis;
  const auto options = redis.options();
  remote::Connection server(options);
  const auto ahead = must(remote::clock_ahead(server, SystemClock()));
  CHECK(ahead < std::chrono::seconds(5));
  CHECK(ahead > -std::chrono::seconds(5));
  TestClock clock;
  clock.advance(std::chrono::hours(1));
  CHECK(must(remote::clock_ahead(server, clock)) < -std::chrono::minutes(59));
}

}  // namespace cachectl::test
