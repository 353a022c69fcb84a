// The memory and the disk of several machines (roots), in front of one server.
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "src/library/layered_cache.hpp"
#include "tests/remote/fixture.hpp"

namespace cachectl::test {

namespace {

CacheOptions sharing(const TempDirectory& directory, const RedisServer& server) {
  CacheOptions options;
  options.root = directory.file("root");
  options.remote = [remote = server.options()]() -> Result<remote::Options> { return remote; };
  return options;
}

/// A process of another machine.
struct Program {
  explicit Program(const RedisServer& server)
      : cache(must(Cache::open(sharing(directory, server)))) {}
  TempDirectory directory;
  LayeredCache cache;
};

refresh::ComputePolicy fleet() {
  refresh::ComputePolicy policy;
  policy.windows.ttl = std::chrono::hours(1);
  policy.durability = lock::Durability::none;
  policy.coordination = Coordination::fleet;
  return policy;
}

std::string output_of(const Result<LayeredCache::Value>& got) {
  if (!got) return "error: " + got.error().describe();
  return *got ? (*got)->output : "miss";
}

}  // namespace

TEST_CASE("remote library: what one program sets the others get, and keep") {
  RedisServer server;
  Program one(server);
  Program other(server);
  const auto key = key_of("key");
  CHECK(output_of(other.cache.get(key)) == "miss");
  must(one.cache.set(key, "value"));
  CHECK(output_of(other.cache.get(key)) == "value");
  server.kill();
  CHECK(output_of(other.cache.get(key)) == "value");
  CHECK(other.cache.memory_counts().hits == 1);
  CHECK(output_of(other.cache.get(key_of("another"))) == "miss");
}

TEST_CASE("remote library: of many threads of several machines one computes") {
  const RedisServer server;
  std::vector<std::unique_ptr<Program>> machines;
  for (int each = 0; each < 3; ++each) machines.push_back(std::make_unique<Program>(server));
  std::atomic<int> calls = 0;
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int each = 0; each < 60; ++each) {
    threads.emplace_back([&, each] {
      const auto got = machines[each % machines.size()]->cache.get_or_compute(
          key_of("key"), fleet(), [&]() -> Result<std::string> {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            return std::to_string(++calls);
          });
      right += output_of(got) == "1" ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(calls == 1);
  CHECK(right == 60);
}

TEST_CASE("remote library: a refresh is not answered by the version that it is to replace") {
  const RedisServer server;
  const TempDirectory directory;
  const auto cache = must(Cache::open(sharing(directory, server)));
  const auto key = key_of("key");
  int calls = 0;
  const refresh::Make make = [&]() -> Result<std::string> { return std::to_string(++calls); };
  const auto first = must(cache.compute(key, fleet(), make));
  const auto second = must(cache.compute_anew(key, fleet(), make, first.header.generation));
  REQUIRE(second);
  CHECK(second->output == "2");
  // Damaged here: the same version is of use.
  const auto intact = content_of(directory.file("root/" + store::entry_name(key.hash()).path()));
  auto damaged = intact;
  damaged.back() = 'x';
  write_file(directory.file("root/" + store::entry_name(key.hash()).path()), damaged);
  CHECK(must(cache.compute(key, fleet(), make)).output == "2");
  CHECK(calls == 2);
}

TEST_CASE("remote library: what another machine replaces or removes is not served for long") {
  RedisServer server;
  Program one(server);
  Program other(server);
  const auto key = key_of("key");
  must(one.cache.set(key, "0"));
  CHECK(output_of(other.cache.get(key)) == "0");
  std::chrono::nanoseconds longest{};
  for (int round = 1; round <= 20; ++round) {
    must(one.cache.set(key, std::to_string(round)));
    const auto since = std::chrono::steady_clock::now();
    const auto end = since + kPatience;
    while (output_of(other.cache.get(key)) != std::to_string(round) &&
           std::chrono::steady_clock::now() < end) {
    }
    CHECK(output_of(other.cache.get(key)) == std::to_string(round));
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - since);
  }
  tell_measured("an announcement, until the value is served", longest, std::chrono::seconds(1));
  CHECK(must(one.cache.remove(key)));
  CHECK(wait_until([&] { return output_of(other.cache.get(key)) == "miss"; }));
  // Its own version stays, also in memory.
  must(other.cache.set(key, "own"));
  CHECK(wait_until([&] { return output_of(one.cache.get(key)) == "own"; }));
  server.kill();
  CHECK(output_of(other.cache.get(key)) == "own");
}

TEST_CASE("remote library: what was announced while nobody listened is found out afterwards") {
  RedisServer server;
  Program one(server);
  Program other(server);
  const auto key = key_of("key");
  must(one.cache.set(key, "old"));
  CHECK(output_of(other.cache.get(key)) == "old");
  server.say({"CLIENT", "KILL", "TYPE", "pubsub"});
  must(one.cache.set(key, "new"));
  CHECK(wait_until([&] { return output_of(other.cache.get(key)) == "new"; }));
  // A server that comes back is followed again.
  server.kill();
  server.start();
  must(one.cache.set(key, "newer"));
  CHECK(wait_until([&] { return output_of(other.cache.get(key)) == "newer"; }));
}

}  // namespace cachectl::test
