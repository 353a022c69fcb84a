#include "src/remote/pool.hpp"

#include <catch2/catch.hpp>
#include <latch>
#include <thread>

#include "tests/remote/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

using std::chrono::milliseconds;

TEST_CASE("remote pool: a connection is used again, and there are no more than allowed") {
  const RedisServer server;
  auto options = server.options();
  options.pool_size = 2;
  remote::Pool pool(options);
  long long first = 0;
  {
    const auto lent = must(pool.checkout());
    first = must(lent->ask({"CLIENT", "ID"}))->integer;
    const auto second = must(pool.checkout());
    bool attempted = true;
    const auto third = pool.checkout(remote::Pool::Pause::keep, &attempted);
    REQUIRE_FALSE(third);
    CHECK_FALSE(attempted);
    CHECK(third.error().describe().find("pool-size") != std::string::npos);
  }
  CHECK(pool.idle() == 2);
  const auto lent = must(pool.checkout());
  const auto again = must(pool.checkout());
  CHECK((must(lent->ask({"CLIENT", "ID"}))->integer == first ||
         must(again->ask({"CLIENT", "ID"}))->integer == first));
}

TEST_CASE("remote pool: who waits gets the one that comes back") {
  const RedisServer server;
  auto options = server.options();
  options.pool_size = 1;
  options.connect_timeout = kPatience;
  remote::Pool pool(options);
  std::optional<remote::Pool::Lent> lent(must(pool.checkout()));
  std::latch started(1);
  std::thread waiter([&] {
    started.count_down();
    must((*pool.checkout())->ask({"PING"}));
  });
  started.wait();
  lent.reset();
  waiter.join();
  CHECK(pool.idle() == 1);
}

TEST_CASE("remote pool: one that the server has closed is not lent") {
  const RedisServer server;
  const auto options = server.options();
  remote::Pool pool(options);
  must((*pool.checkout())->ask({"PING"}));
  REQUIRE(pool.idle() == 1);
  server.say({"CLIENT", "KILL", "TYPE", "normal"});
  CHECK((*pool.checkout())->ask({"PING"}));
}

TEST_CASE("remote pool: after a failure to connect it fails at once for a while") {
  RedisServer server;
  const auto options = server.options();
  server.kill();
  remote::Pool pool(options);
  int attempts = 0;
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < milliseconds(500)) {
    bool attempted = false;
    CHECK_FALSE(pool.checkout(remote::Pool::Pause::keep, &attempted));
    attempts += attempted ? 1 : 0;
  }
  // 5 to 10 ms, 10 to 20, 20 to 40, ...
  CHECK(attempts >= 2);
  CHECK(attempts <= 8);
  server.start();
  CHECK(pool.checkout(remote::Pool::Pause::skip));
}

TEST_CASE("remote pool: many threads, few connections") {
  const RedisServer server;
  auto options = server.options();
  options.pool_size = 3;
  options.connect_timeout = kPatience;
  remote::Pool pool(options);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto word = std::to_string(t) + '-' + std::to_string(i);
        const auto reply = (*pool.checkout())->ask({"ECHO", word});
        if (!reply || (*reply)->text != word) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(pool.idle() <= 3);
}

TEST_CASE("remote pool: a forked child starts with an empty one") {
  const RedisServer server;
  const auto options = server.options();
  remote::Pool pool(options);
  const auto id = [&] { return must((*pool.checkout())->ask({"CLIENT", "ID"}))->integer; };
  const auto ours = id();
  Forked child([&](const Link& link) {
    link.say(std::to_string(pool.idle()));
    link.say(std::to_string(id()));
    return 0;
  });
  CHECK(child.hear() == "0");
  CHECK(std::stoll(child.hear()) != ours);
  CHECK(child.wait() == 0);
  CHECK(id() == ours);
}

}  // namespace cachectl::test
