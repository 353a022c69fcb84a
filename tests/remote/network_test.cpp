// What goes wrong between a host and a server that work.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "src/remote/failure.hpp"
#include "tests/remote/fixture.hpp"
#include "tests/support/link.hpp"
#include "tests/support/network.hpp"

namespace cachectl::test {

namespace {

struct Fault {
  const char* name;
  void (*begin)(Network&);
  bool is_total = true;  ///< no call gets through
};

constexpr Fault kFaults[] = {
    {"partition", [](Network& network) { network.drop_all(0); }},
    {"cable pulled", [](Network& network) { network.unplug(0); }},
    {"30 % loss", [](Network& network) { network.lose(0, 30); }, false},
    {"reset", [](Network& network) { network.reset(0); }},
};

}  // namespace

TEST_CASE("remote network: no call takes longer than it may, and what comes is right") {
  std::string why;
  const auto network = Network::make(1, why);
  if (!network) {
    WARN("skipped: " << why);
    return;
  }
  const auto& fault = GENERATE(from_range(std::begin(kFaults), std::end(kFaults)));
  INFO(fault.name);
  std::unique_ptr<RedisServer> server;
  network->on_server([&] {
    server = std::make_unique<RedisServer>(
        std::vector<std::string>{"--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no"});
  });
  remote::Options options;
  options.server = must(remote::parse_url("redis://" + Network::server_address(0)));
  // So small a request is written at once.
  const auto most = options.connect_timeout + options.read_timeout;
  network->on_host(0, [&] {
    Machine here(options);
    std::vector<Key> keys;
    for (int i = 0; i < 20; ++i) keys.push_back(key_of("key" + std::to_string(i)));
    std::map<std::string, std::set<std::string>> versions;  // that a key ever had
    const auto put_here = [&](const Key& key, unsigned seed) {
      here.test.clock().advance(std::chrono::milliseconds(1));
      here.put_here(key, noise(1000, seed));
      versions[std::string(key.bytes())].insert(here.record(key));
    };
    for (const auto& key : keys) {
      put_here(key, 0);
      REQUIRE(*here.publish(key));
    }
    std::chrono::nanoseconds longest{};
    int failed = 0;
    int calls = 0;
    const auto timed = [&](const auto& call) {
      const auto start = std::chrono::steady_clock::now();
      auto result = call();
      const auto took = std::chrono::steady_clock::now() - start;
      longest = std::max<std::chrono::nanoseconds>(longest, took);
      ++calls;
      if (!result) {
        ++failed;
        CHECK(remote::kind_of(result.error()) == remote::Kind::connection);
      }
      return result;
    };
    fault.begin(*network);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
    for (std::size_t i = 0; std::chrono::steady_clock::now() < end; ++i) {
      const auto& key = keys[i % keys.size()];
      const auto got = timed([&] { return here.fetch(key); });
      // What is not known to be published may be there.
      if (got) CHECK((*got && versions[std::string(key.bytes())].contains(**got)));
      put_here(key, static_cast<unsigned>(i));
      timed([&] { return here.publish(key); });
      // Else the server is left alone from the fifth failure on, and no call is tried.
      std::filesystem::remove(here.test.file(remote::Breaker::kName));
    }
    CHECK((failed == calls || !fault.is_total));
    CHECK(longest < most + allowed_lateness());
    network->repair(0);
    for (const auto& key : keys) {
      CHECK(wait_until([&] { return here.publish(key).has_value(); }));
      CHECK((here.seen(key) == here.record(key)));
    }
    CHECK(here.warnings.empty());
    tell_measured(fmt::format("{}, {} of {} calls failed", fault.name, failed, calls), longest,
                  most);
  });
}

}  // namespace cachectl::test
