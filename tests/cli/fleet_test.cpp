// Jobs on several machines (roots) whose server moves, dies or is cut off.
#include <signal.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/cli/support.hpp"
#include "tests/remote/cluster_servers.hpp"
#include "tests/support/network.hpp"

namespace cachectl::test {

namespace {

/// A machine of the fleet, which finds its server by one variable.
class Member {
 public:
  explicit Member(std::string setting) : setting_(std::move(setting)) {}

  Outcome operator()(std::vector<std::string> arguments) const {
    return run(program(std::move(arguments)));
  }
  [[nodiscard]] Program program(std::vector<std::string> arguments) const {
    auto program = sandbox_.cachectl(std::move(arguments));
    program.environment.push_back(setting_);
    return program;
  }
  [[nodiscard]] const Sandbox& sandbox() const { return sandbox_; }

  /// `run` of a source that prints the value of the key.
  [[nodiscard]] Outcome job(const std::string& key) const {
    return (*this)({"run", "--key", key, "--ttl", "1h", "--", "echo", "value of " + key});
  }

 private:
  Sandbox sandbox_;
  std::string setting_;
};

struct Toll {
  int jobs = 0;
  std::vector<std::string> wrong;
  std::chrono::nanoseconds longest{};

  void take(const Member& member, const std::string& key) {
    const auto start = std::chrono::steady_clock::now();
    const auto outcome = member.job(key);
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - start);
    ++jobs;
    if (outcome.status != 0 || outcome.output != "value of " + key + "\n") {
      wrong.push_back(key + ": " + std::to_string(outcome.status) + ' ' + outcome.output +
                      outcome.errors);
    }
  }
  void check(const char* what) const {
    std::string all;
    for (const auto& one : wrong) all += one + '\n';
    CHECK(all.empty());
    // Asking and giving, each with what may be tried once more, and the job itself on a busy
    // machine.
    CHECK(longest < std::chrono::seconds(6));
    tell_measured(std::string(what) + ", " + std::to_string(jobs) + " jobs, none failed", longest,
                  std::chrono::seconds(6));
  }
};

std::string seeds_of(const remote::Options& options) {
  std::string text;
  for (const auto& seed : options.seeds) {
    text += (text.empty() ? "" : ",") + seed.host + ':' + std::to_string(seed.port);
  }
  return text;
}

/// Both find values of each other, at last.
void check_service(const Member& one, const Member& other) {
  int next = 0;
  CHECK(wait_until([&] {
    const auto key = "after-" + std::to_string(next++);
    return one.job(key).status == 0 && other({"get", key}).output == "value of " + key + "\n";
  }));
}

void configure_source(const Member& member, const TempDirectory& common, const std::string& rest) {
  configure(member.sandbox(),
            "[entries.k]\nttl = \"1h\"\ncoordination = \"fleet\"\nshell = true\n"
            "source = \"echo x >> " +
                common.file("log") + "; " + rest + "wc -l < " + common.file("log") + "\"\n");
}

std::size_t runs_in(const TempDirectory& common) {
  if (!std::filesystem::exists(common.file("log"))) return 0;
  return lines_of(content_of(common.file("log"))).size();
}

}  // namespace

TEST_CASE(
    "redis fleet: no job fails while a cluster's master dies, and its values are shared again") {
  RedisCluster cluster(1);
  const auto setting = "CACHECTL_REDIS_CLUSTER_SEEDS=" + seeds_of(cluster.options());
  const Member one(setting);
  const Member other(setting);
  Toll toll;
  for (int i = 0; i < 120; ++i) {
    if (i == 20) cluster.node(0).kill();
    const auto key = "k" + std::to_string(i);
    toll.take(one, key);
    toll.take(other, key);
  }
  toll.check("failover of a cluster");
  std::vector<bool> is_checked(RedisCluster::kMasters);
  for (std::size_t home = 0; home < RedisCluster::kMasters; ++home) {
    CHECK(wait_until([&] {
      const auto key = cluster.key_at(home);
      const std::string name(key.bytes());
      return one.job(name).status == 0 && other({"get", name}).output == "value of " + name + "\n";
    }));
  }
}

TEST_CASE("redis fleet: no job fails while sentinels name another master") {
  RedisSentinels servers;
  const auto setting = "CACHECTL_REDIS_SENTINEL_SEEDS=" + seeds_of(servers.options());
  const Member one(setting);
  const Member other(setting);
  Toll toll;
  for (int i = 0; i < 80; ++i) {
    if (i == 10) servers.first().kill();
    const auto key = "k" + std::to_string(i);
    toll.take(one, key);
    toll.take(other, key);
  }
  toll.check("failover by sentinels");
  check_service(one, other);
}

TEST_CASE("redis fleet: one leader for the fleet, by way of a cluster") {
  RedisCluster cluster;
  const auto setting = "CACHECTL_REDIS_CLUSTER_SEEDS=" + seeds_of(cluster.options());
  const TempDirectory common;
  std::vector<std::unique_ptr<Member>> members;
  std::vector<Running> crowd;
  for (int i = 0; i < 3; ++i) {
    members.push_back(std::make_unique<Member>(setting));
    configure_source(*members.back(), common, "sleep 0.3; ");
  }
  for (int i = 0; i < 30; ++i) crowd.emplace_back(members[i % 3]->program({"get", "k"}));
  for (auto& one : crowd) CHECK(one.wait().output == "1\n");
  CHECK(runs_in(common) == 1);
}

TEST_CASE("redis fleet: two ways to the server are refused, as is what is no seed") {
  const Member member("CACHECTL_REDIS_URL=redis://a");
  const auto check = [&](const std::string& text) {
    configure(member.sandbox(), text);
    return member({"config", "check"});
  };
  CHECK(check("[redis.cluster]\nseeds = [\"a:1\", \"b:2\"]\n").errors.find("more than one") !=
        std::string::npos);
  const Member bare("CACHECTL_REDIS_URL");
  for (const char* seed : {"a:b", "a:0", ":1", "user@a:1", "redis://a:1", "-x:1"}) {
    INFO(seed);
    configure(bare.sandbox(), "[redis.sentinel]\nseeds = [\"" + std::string(seed) + "\"]\n");
    const auto outcome = bare({"config", "check"});
    CHECK(outcome.status != 0);
    CHECK(is_one_message(outcome.errors));
    CHECK(outcome.errors.find("redis.sentinel.seeds") != std::string::npos);
  }
  configure(bare.sandbox(), "[redis.sentinel]\nseeds = [\"a\", \"[::1]:7\"]\nname = \"m\"\n");
  CHECK(bare({"config", "check"}).status == 0);
  CHECK(bare({"config", "show"}).output.find("a,[::1]:7") != std::string::npos);
}

TEST_CASE("redis network: no job fails because of the network, and the server is used again") {
  std::string why;
  const auto network = Network::make(2, why);
  if (!network) {
    WARN("skipped: " << why);
    return;
  }
  std::unique_ptr<RedisServer> server;
  network->on_server([&] {
    server = std::make_unique<RedisServer>(
        std::vector<std::string>{"--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no"});
  });
  const Member one("CACHECTL_REDIS_URL=redis://" + Network::server_address(0));
  const Member other("CACHECTL_REDIS_URL=redis://" + Network::server_address(1));
  const char* name = "";
  SECTION("partition") { name = "partition"; }
  SECTION("30 % loss") { name = "30 % loss"; }
  SECTION("reset") { name = "reset"; }
  SECTION("cable pulled") { name = "cable pulled"; }
  const std::string fault(name);
  Toll toll;
  network->on_host(0, [&] { toll.take(one, "hit"); });
  network->on_host(1, [&] { toll.take(other, "of the other"); });
  for (int i = 0; i < 20; ++i) {
    if (i == 3 && fault == "partition") network->drop_all(0);
    if (i == 3 && fault == "30 % loss") network->lose(0, 30);
    if (i == 3 && fault == "reset") network->reset(0);
    if (i == 3 && fault == "cable pulled") network->unplug(0);
    network->on_host(0, [&] {
      toll.take(one, "hit");
      toll.take(one, "k" + std::to_string(i));
    });
  }
  toll.check(name);
  network->repair(0);
  int next = 0;
  CHECK(wait_until([&] {
    const auto key = "after-" + std::to_string(next++);
    std::string got;
    network->on_host(0, [&] { static_cast<void>(one.job(key)); });
    network->on_host(1, [&] { got = other({"get", key}).output; });
    return got == "value of " + key + "\n";
  }));
  network->on_host(0, [&] {
    CHECK(wait_until([&] {
      return one({"get", "of the other"}).output == "value of of the other\n";
    }));
  });
}

TEST_CASE("redis network: a leader that is cut off costs one more run of the source at most") {
  std::string why;
  const auto network = Network::make(3, why);
  if (!network) {
    WARN("skipped: " << why);
    return;
  }
  std::unique_ptr<RedisServer> server;
  network->on_server([&] {
    server = std::make_unique<RedisServer>(
        std::vector<std::string>{"--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no"});
  });
  const TempDirectory common;
  std::vector<std::unique_ptr<Member>> members;
  for (std::size_t i = 0; i < 3; ++i) {
    members.push_back(
        std::make_unique<Member>("CACHECTL_REDIS_URL=redis://" + Network::server_address(i)));
    configure_source(*members[i], common,
                     "until test -e " + common.file("go") + "; do sleep 0.02; done; ");
  }
  std::vector<Running> crowd;
  const auto join = [&](std::size_t host) {
    network->on_host(host, [&] {
      for (int i = 0; i < 5; ++i) crowd.emplace_back(members[host]->program({"get", "k"}));
    });
  };
  join(0);
  REQUIRE(wait_until([&] { return runs_in(common) == 1; }));
  join(1);
  join(2);
  // One of each host waits in the server.
  REQUIRE(wait_until([&] {
    const auto clients = server->say({"CLIENT", "LIST"});
    std::size_t waiting = 0;
    for (auto at = clients.find("cmd=blmove"); at != std::string::npos;
         at = clients.find("cmd=blmove", at + 1)) {
      ++waiting;
    }
    return waiting == 2;
  }));
  network->drop_all(0);
  // Its lease ends, and another one leads.
  REQUIRE(wait_until([&] { return runs_in(common) == 2; }, std::chrono::seconds(30)));
  write_file(common.file("go"), "");
  for (auto& one : crowd) {
    const auto outcome = one.wait();
    CHECK(outcome.status == 0);
    CHECK(outcome.output == "2\n");
  }
  CHECK(runs_in(common) == 2);
  // Who was cut off serves his own until it is stale; the others have that of the second leader.
  network->on_host(1, [&] { CHECK((*members[1])({"get", "k"}).output == "2\n"); });
}

}  // namespace cachectl::test
