#include "src/remote/connection.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "src/remote/failure.hpp"
#include "tests/remote/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kMayBeLate{50};

std::chrono::nanoseconds time_of(const std::function<void()>& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::steady_clock::now() - start;
}

/// Waits for a request, as far as there is one.
void hear_request(int client) {
  char block[4096];
  static_cast<void>(::recv(client, block, sizeof block, 0));
}

bool answer(int client, std::string_view text) {
  return ::send(client, text.data(), text.size(), MSG_NOSIGNAL) > 0;
}

}  // namespace

TEST_CASE("remote connection: an answer that is not the protocol closes the connection") {
  const std::string text =
      GENERATE("garbage\r\n", "$-7\r\n", "$5\r\nabcdefgh", "*1000000000\r\n", "+OK\r\n+OK\r\n",
               "$x\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
               "HTTP/1.1 400 Bad Request\r\n\r\n", "\r\n", "");
  INFO(text);
  const FakeServer server([&](int client) {
    hear_request(client);
    if (!text.empty()) static_cast<void>(answer(client, text));
    ::shutdown(client, SHUT_WR);
    hear_request(client);
  });
  const auto options = server.options();
  remote::Connection connection(options);
  const auto got = connection.ask({"GET", "k"});
  REQUIRE_FALSE(got);
  CHECK(got.error().code == Errc::unreachable);
  CHECK_FALSE(connection.is_connected());
}

TEST_CASE("remote connection: a server that drips bytes gains no time") {
  // A long string, a line without an end, and complete answers to a batch.
  const std::string drop = GENERATE("$1000000\r\n", "+", "+OK\r\n");
  const FakeServer server([&](int client) {
    hear_request(client);
    static_cast<void>(answer(client, drop));
    const bool complete = drop.ends_with("OK\r\n");
    pollfd more{client, POLLIN, 0};
    do {
      if (::poll(&more, 1, 10) == 0) continue;
      char rest[4096];
      if (::recv(client, rest, sizeof rest, MSG_DONTWAIT) <= 0) return;  // it has gone
    } while (answer(client, complete ? drop : "x"));
  });
  const auto options = server.options();
  remote::Connection connection(options);
  remote::Commands commands;
  for (int i = 0; i < 1000; ++i) commands.add({"GET", "k"});
  Result<void> done;
  const auto took = time_of([&] {
    done =
        connection.exchange(commands, [](std::size_t, remote::Reply&) { return Result<void>(); });
  });
  REQUIRE_FALSE(done);
  CHECK(done.error().message.find("in time") != std::string::npos);
  CHECK(took >= options.read_timeout);
  CHECK(took < options.read_timeout + kMayBeLate);
}

TEST_CASE("remote connection: a server that floods is cut off") {
  const FakeServer server([&](int client) {
    hear_request(client);
    const std::string block(64 * 1024, 'x');
    static_cast<void>(answer(client, "$500000000\r\n"));
    while (answer(client, block)) {
    }
  });
  const auto options = server.options();
  remote::Connection connection(options);
  const auto got = connection.ask({"GET", "k"});
  REQUIRE_FALSE(got);
  CHECK(got.error().message.find("not the Redis protocol") != std::string::npos);
}

TEST_CASE("remote connection: a server that goes away in the middle is an error, not a signal") {
  const FakeServer server([](int) {});
  const auto options = server.options();
  for (int i = 0; i < 20; ++i) {
    remote::Connection connection(options);
    const std::string value(1'000'000, 'x');
    const auto got = connection.ask({"SET", "k", value});
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::unreachable);
  }
}

TEST_CASE("remote connection: a log-in that is not answered ends in time") {
  const FakeServer server([](int client) {
    hear_request(client);
    hear_request(client);
  });
  auto options = server.options();
  options.password = "p";
  remote::Connection connection(options);
  const auto took = time_of([&] { CHECK_FALSE(connection.ask({"GET", "k"})); });
  CHECK(took < options.connect_timeout + options.read_timeout + kMayBeLate);
}

TEST_CASE("remote connection: an address that nobody answers at ends in time") {
  remote::Options options;
  // Of a range for documentation (RFC 5737): no route, or no answer.
  options.server = must(remote::parse_url("redis://192.0.2.1"));
  remote::Connection connection(options);
  const auto took = time_of([&] {
    const auto got = connection.ask({"PING"});
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::unreachable);
  });
  CHECK(took < options.connect_timeout + kMayBeLate);
}

TEST_CASE("remote connection: a host is found by its name") {
  remote::Options options;
  options.connect_timeout = kPatience;
  options.server = must(remote::parse_url("redis://localhost:1"));
  const auto refused = remote::Connection(options).ask({"PING"});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("refused") != std::string::npos);
  // Not known without asking, so getent is asked.
  options.server.host = "LOCALHOST";
  const auto asked = remote::Connection(options).ask({"PING"});
  REQUIRE_FALSE(asked);
  CHECK(asked.error().message.find("refused") != std::string::npos);
  options.server.host = "no-such-host.invalid";
  const auto unknown = remote::Connection(options).ask({"PING"});
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == Errc::unreachable);
}

TEST_CASE("remote connection: a large batch whose answers are large does not lock up") {
  const RedisServer server;
  const auto options = server.options();
  remote::Connection connection(options);
  const std::string value(100'000, 'x');
  REQUIRE(connection.ask({"SET", "k", value}));
  remote::Commands commands;
  for (int i = 0; i < 200; ++i) commands.add({"GET", "k"}).add({"SET", "other", value});
  std::size_t right = 0;
  must(connection.exchange(commands, [&](std::size_t index, remote::Reply& reply) {
    right += index % 2 == 1 || reply.text == value ? 1 : 0;
    return Result<void>();
  }));
  CHECK(right == 400);
}

TEST_CASE("remote connection: who takes the answers may take his time") {
  const RedisServer server;
  auto options = server.options();
  options.read_timeout = milliseconds(200);
  remote::Connection connection(options);
  remote::Commands commands;
  for (int i = 0; i < 3; ++i) commands.add({"GET", "k"});
  CHECK(connection.exchange(commands, [&](std::size_t, remote::Reply&) {
    ::usleep(150'000);
    return Result<void>();
  }));
}

TEST_CASE("remote connection: a forked child has one of its own, and its parent keeps his") {
  const RedisServer server;
  const auto options = server.options();
  remote::Connection connection(options);
  const auto id = [&] { return must(connection.ask({"CLIENT", "ID"}))->integer; };
  const auto ours = id();
  Forked child([&](const Link& link) {
    // What was the parent's socket is another file by now, as after a close of all.
    std::array<int, 2> ends{};
    for (int fd = 3; fd < 100; ++fd) {
      if (fd != link.descriptor()) ::close(fd);
    }
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return 1;
    link.say(std::to_string(id()));
    // Nobody has closed what was not his.
    return ::write(ends[1], "x", 1) == 1 ? 0 : 2;
  });
  CHECK(std::stoll(child.hear()) != ours);
  CHECK(child.wait() == 0);
  CHECK(id() == ours);
}

}  // namespace cachectl::test
