// Daemons on several machines (roots) that keep the same entry warm, with one Redis server.
#include <array>
#include <catch2/catch.hpp>
#include <sstream>

#include "tests/cli/daemons.hpp"
#include "tests/cli/redis_process.hpp"

namespace cachectl::test {

namespace {

/// An entry "w" whose source writes to a log of all machines when it starts, and prints its number.
std::string shared_entry(const RedisProcess& server, const TempDirectory& common,
                         const std::string& more) {
  // A busy machine is to fail none of this.
  return "[redis]\nurl = \"" + server.url() + "\"\nread-timeout = \"20s\"\n" +
         warm_entry(
             "w",
             "date +%s%3N >> " + common.file("log") + "; sleep 0.3; wc -l < " + common.file("log"),
             more);
}

/// When the source was started, in milliseconds.
std::vector<long long> starts(const TempDirectory& common) {
  std::istringstream log(content_of(common.file("log")));
  std::vector<long long> times;
  for (long long time = 0; log >> time;) times.push_back(time);
  return times;
}

bool follows(const RedisProcess& server, int machines) {
  const auto expected = "cachectl:changes\n" + std::to_string(machines) + "\n";
  return wait_until([&] { return server.say("pubsub numsub cachectl:changes") == expected; });
}

}  // namespace

TEST_CASE("warm fleet: a daemon takes what another machine has made before anybody asks") {
  const RedisProcess server;
  const TempDirectory common;
  const Host one(server);
  const Host other(server);
  const auto configuration = shared_entry(server, common, "ttl = \"1h\"");
  configure(one.sandbox(), configuration);
  Service service(other.sandbox(), configuration);
  REQUIRE(service.is_ready());
  REQUIRE(follows(server, 1));
  CHECK(value_of(other.sandbox(), "w") == "1\n");
  CHECK(one({"refresh", "w"}).status == 0);
  CHECK(becomes(other.sandbox(), "w", "2\n"));
  // Also where it has none.
  CHECK(other({"delete", "w", "--tier", "disk"}).status == 0);
  CHECK(value_of(other.sandbox(), "w").empty());
  CHECK(one({"refresh", "w"}).status == 0);
  CHECK(becomes(other.sandbox(), "w", "3\n"));
  // What it has not to keep is removed, as is what was deleted.
  CHECK(one({"set", "k", "old"}).status == 0);
  CHECK(other({"get", "k"}).output == "old");
  CHECK(one({"set", "k", "new"}).status == 0);
  CHECK(becomes(other.sandbox(), "k", ""));
  CHECK(one({"delete", "w"}).status == 0);
  CHECK(becomes(other.sandbox(), "w", ""));
  CHECK(starts(common).size() == 3);
  CHECK(service.stop().status == 0);
}

TEST_CASE("warm fleet: a daemon that starts takes a value that is new enough, and keeps it") {
  RedisProcess server;
  const TempDirectory common;
  const Host one(server);
  const Host other(server);
  const auto configuration = shared_entry(server, common, "ttl = \"1h\"");
  configure(one.sandbox(), configuration);
  CHECK(one({"refresh", "w"}).status == 0);
  Service service(other.sandbox(), configuration);
  REQUIRE(service.is_ready());
  CHECK(value_of(other.sandbox(), "w") == "1\n");
  REQUIRE(follows(server, 1));
  // What was made while it could not hear of it.
  const auto url = "[redis]\nurl = \"unix:" + common.file("none") + "\"\n";
  service.reload_with(url + warm_entry("v", "echo v", "ttl = \"1h\""));
  REQUIRE(becomes(other.sandbox(), "v", "v\n"));
  CHECK(one({"refresh", "w"}).status == 0);
  CHECK(value_of(other.sandbox(), "w") == "1\n");
  service.reload_with(configuration);
  CHECK(becomes(other.sandbox(), "w", "2\n"));
  CHECK(starts(common).size() == 2);
  // By another definition it is made anew, whoever has made one just now.
  service.reload_with(shared_entry(server, common, "ttl = \"2h\""));
  CHECK(becomes(other.sandbox(), "w", "3\n"));
  server.kill();
  CHECK(value_of(other.sandbox(), "w") == "3\n");
  CHECK(service.stop().status == 0);
}

TEST_CASE("warm fleet: one run of the source for each period, and no machine is without a value") {
  RedisProcess server;
  const TempDirectory common;
  const auto configuration = shared_entry(server, common, "ttl = \"3s\"\ncoordination = \"fleet\"");
  const std::array<Host, 3> hosts{Host(server), Host(server), Host(server)};
  std::vector<std::unique_ptr<Service>> services;
  for (const auto& host : hosts) {
    services.push_back(std::make_unique<Service>(host.sandbox(), configuration));
  }
  for (const auto& service : services) REQUIRE(service->is_ready());
  REQUIRE(follows(server, 3));
  const auto missing = [&] {
    int count = 0;
    for (const auto& host : hosts) {
      const auto list = host.sandbox().run({"--config", "/dev/null", "ls", "--quiet"}).output;
      if (list.find('w') == std::string::npos) ++count;
    }
    return count;
  };
  int looks_that_missed = 0;
  constexpr std::size_t kRuns = 6;
  CHECK(wait_until([&] {
    looks_that_missed += missing() > 0 ? 1 : 0;
    return starts(common).size() >= kRuns;
  }));
  CHECK(looks_that_missed == 0);
  server.kill();
  CHECK(missing() == 0);
  for (const auto& service : services) CHECK(service->stop().status == 0);
  // Who looks sooner than 1.7 s after the last start has no reason to start it again.
  const auto times = starts(common);
  for (std::size_t run = 1; run < kRuns; ++run) {
    INFO("run " << run);
    CHECK(times[run] - times[run - 1] > 1500);
  }
}

}  // namespace cachectl::test
