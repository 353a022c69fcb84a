// What the daemon answers over HTTP, to clients that are well-behaved and to those that are not.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "tests/cli/daemons.hpp"

namespace cachectl::test {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A connection to 127.0.0.1.
class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  /// False: the other end does not take it.
  bool send(std::string_view text) const {
    while (!text.empty()) {
      const auto sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  /// All until the other end closes.
  [[nodiscard]] std::string rest() const {
    std::string text;
    std::array<char, 4096> block;
    while (true) {
      pollfd watched{socket_.get(), POLLIN, 0};
      if (::poll(&watched, 1, 30'000) != 1) return text + "(silence)";
      const auto got = ::recv(socket_.get(), block.data(), block.size(), 0);
      if (got <= 0) return text;
      text.append(block.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  lock::Fd socket_;
};

std::string ask(std::uint16_t port, std::string_view request) {
  const Client client(port);
  client.send(request);
  return client.rest();
}

std::string get(std::uint16_t port, const std::string& path) {
  return ask(port, "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

/// Where the daemon says that it listens.
std::uint16_t port_of(Service& service) {
  const std::string before = "listening at http://127.0.0.1:";
  REQUIRE(service.says(before));
  const auto said = service.process().errors();
  return static_cast<std::uint16_t>(std::stoi(said.substr(said.find(before) + before.size())));
}

Catch::Matchers::StdString::StartsWithMatcher begins(const std::string& text) {
  return Catch::StartsWith(text);
}

/// Without a clean-up, which would be a child of the daemon's too.
const std::string kQuiet = "[daemon]\ngc-interval = 'never'\n";
const std::string kListen = kQuiet + "listen = '127.0.0.1:0'\n";

/// Those that answer for a daemon: its child that outlives requests.
pid_t server_of(Service& service) {
  const auto children = children_of(service.process().pid(), Which::all);
  return children.empty() ? -1 : children.front();
}

}  // namespace

TEST_CASE("daemon --listen: /healthz is 503 until the daemon is ready, then 200") {
  const Sandbox sandbox;
  Service service(sandbox, kListen + warm_entry("k", "while ! test -e " + sandbox.file("go") +
                                                         "; do sleep 0.02; done; echo v"));
  const auto port = port_of(service);
  CHECK_THAT(get(port, "/healthz"),
             begins("HTTP/1.1 503 ") && Catch::EndsWith("\r\n\r\nstarting\n"));
  write_file(sandbox.file("go"), "");
  REQUIRE(service.is_ready());
  CHECK_THAT(get(port, "/healthz"), begins("HTTP/1.1 200 OK\r\n") && Catch::EndsWith("ready\n"));
  CHECK(service.stop().status == 0);
}

TEST_CASE(
    "daemon --listen: answers GET and HEAD of its pages, and tells no values and no keys but names "
    "of entries") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "the-key", "the-value"}).status == 0);
  Service service(sandbox, kListen + warm_entry("warm-key", "echo warm-value"));
  const auto port = port_of(service);
  REQUIRE(service.is_ready());
  const auto page = get(port, "/");
  CHECK_THAT(page, begins("HTTP/1.1 200 ") && Catch::Contains("text/html") &&
                       Catch::Contains("1 entries kept warm, 0 of them failing"));
  const auto metrics = get(port, "/metrics");
  CHECK_THAT(metrics, begins("HTTP/1.1 200 ") && Catch::Contains("text/plain; version=0.0.4"));
  CHECK_THAT(metrics, Catch::Contains("\ncachectl_") && Catch::EndsWith("\n"));
  for (const auto& answer : {page, metrics}) {
    CHECK_THAT(answer, !Catch::Contains("the-key") && !Catch::Contains("-value") &&
                           !Catch::Contains(sandbox.root()));
    CHECK_THAT(answer, Catch::Contains("\r\nConnection: close\r\n") &&
                           Catch::Contains("\r\nX-Content-Type-Options: nosniff\r\n"));
  }
  CHECK_THAT(page, !Catch::Contains("warm-key"));
  CHECK_THAT(metrics, Catch::Contains("\n# TYPE cachectl_requests_total counter\n") &&
                          Catch::Contains("entry=\"warm-key\""));
  const auto head = ask(port, "HEAD / HTTP/1.0\r\n\r\n");
  CHECK(head == page.substr(0, page.find("\r\n\r\n") + 4));
  CHECK_THAT(get(port, "/healthz?probe=1"), begins("HTTP/1.1 200 "));
  CHECK_THAT(get(port, "/../etc/passwd"), begins("HTTP/1.1 404 "));
  // The form for proxies (RFC 9112, 3.2.2).
  CHECK_THAT(get(port, "http://127.0.0.1/healthz"), begins("HTTP/1.1 200 "));
  CHECK_THAT(get(port, "http://127.0.0.1:9100/healthz?a=://"), begins("HTTP/1.1 200 "));
  CHECK_THAT(get(port, "http://127.0.0.1"), begins("HTTP/1.1 200 "));
  CHECK_THAT(get(port, "http://127.0.0.1/none"), begins("HTTP/1.1 404 "));
  CHECK_THAT(get(port, "/none?a=://b/healthz"), begins("HTTP/1.1 404 "));
  CHECK_THAT(ask(port, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
             begins("HTTP/1.1 405 ") && Catch::Contains("\r\nAllow: GET, HEAD\r\n"));
  CHECK_THAT(ask(port, "DELETE /metrics HTTP/1.1\r\n\r\n"), begins("HTTP/1.1 405 "));
  const auto curl = run(sandbox.program({"curl", "-sS", "--max-time", "30",
                                         "http://127.0.0.1:" + std::to_string(port) + "/healthz"}));
  CHECK(curl.output + curl.errors == "ready\n");
}

TEST_CASE("daemon --listen: garbage is refused, and harms nobody") {
  const Sandbox sandbox;
  Service service(sandbox, kListen);
  const auto port = port_of(service);
  REQUIRE(service.is_ready());
  const auto server = server_of(service);
  for (const std::string garbage :
       {"\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n", "GET /\x01 HTTP/1.1\r\n\r\n"}) {
    INFO(garbage);
    CHECK_THAT(ask(port, garbage), begins("HTTP/1.1 400 "));
  }
  std::ifstream random("/dev/urandom", std::ios::binary);
  for (int n = 0; n < 50; ++n) {
    std::string bytes(500, '\0');
    random.read(bytes.data(), 500);
    static_cast<void>(ask(port, bytes + "\r\n\r\n"));
  }
  { const Client gone(port); }  // without a word
  CHECK_THAT(get(port, "/healthz"), begins("HTTP/1.1 200 "));
  CHECK(server_of(service) == server);
}

TEST_CASE("daemon --listen: a head of a megabyte is refused with what it is") {
  const Sandbox sandbox;
  Service service(sandbox, kListen);
  const auto port = port_of(service);
  REQUIRE(service.is_ready());
  const Client client(port);
  client.send("GET / HTTP/1.1\r\nX: ");
  client.send(std::string(1 << 20, 'x'));
  client.send("\r\n\r\n");
  CHECK_THAT(client.rest(), begins("HTTP/1.1 431 "));
  // It is not waited for the end of it.
  const Client endless(port);
  endless.send("GET / HTTP/1.1\r\nX: " + std::string(20 * 1024, 'x'));
  CHECK_THAT(endless.rest(), begins("HTTP/1.1 431 "));
  const std::string longest(8 * 1024 - 60, 'x');
  CHECK_THAT(ask(port, "GET / HTTP/1.1\r\nX: " + longest + "\r\n\r\n"), begins("HTTP/1.1 200 "));
  CHECK_THAT(ask(port, "GET / HTTP/1.1\r\nX: " + longest + std::string(60, 'x') + "\r\n\r\n"),
             begins("HTTP/1.1 431 "));
}

TEST_CASE("daemon --listen: who sends a byte now and then is cut off after five seconds") {
  const Sandbox sandbox;
  Service service(sandbox, kListen);
  const auto port = port_of(service);
  REQUIRE(service.is_ready());
  const Client slow(port);
  const auto start = std::chrono::steady_clock::now();
  slow.send("GET / HTTP/1.1\r\n");
  std::thread dripping([&] {
    while (slow.send("X") && std::chrono::steady_clock::now() - start < seconds(20)) {
      std::this_thread::sleep_for(milliseconds(200));
    }
  });
  const auto answer = slow.rest();
  const auto took = std::chrono::steady_clock::now() - start;
  dripping.join();
  CHECK_THAT(answer, begins("HTTP/1.1 408 "));
  CHECK(took >= milliseconds(4900));
  CHECK(took < seconds(20));
}

TEST_CASE(
    "daemon --listen: 200 idle connections keep nobody from an answer, or the daemon from work") {
  const Sandbox sandbox;
  Service service(sandbox,
                  kListen + warm_entry("k", "date +%s%N", "ttl = '1h'\nwarm-interval = '1s'"));
  const auto port = port_of(service);
  REQUIRE(service.is_ready());
  std::vector<Client> idle;
  for (int n = 0; n < 200; ++n) {
    idle.emplace_back(port);
    idle.back().send("GET / HTTP/1.1\r\n");
  }
  const auto before = value_of(sandbox, "k");
  const auto start = std::chrono::steady_clock::now();
  CHECK_THAT(get(port, "/healthz"), begins("HTTP/1.1 200 "));
  CHECK(std::chrono::steady_clock::now() - start < seconds(4));  // not when they were cut off
  CHECK(wait_until([&] { return value_of(sandbox, "k") != before; }));
  // 200 at once that do ask: all are answered.
  idle.clear();
  std::vector<Client> askers;
  for (int n = 0; n < 200; ++n) askers.emplace_back(port);
  int answered = 0;
  for (const auto& each : askers) {
    each.send("GET /healthz HTTP/1.1\r\n\r\n");
  }
  for (const auto& each : askers) answered += each.rest().starts_with("HTTP/1.1 200 ") ? 1 : 0;
  CHECK(answered >= 64);  // those above the limit were sent away
}

TEST_CASE("daemon --listen: what answers is started again when it dies, and no request is lost") {
  const Sandbox sandbox;
  Service service(sandbox, kListen);
  const auto port = port_of(service);
  REQUIRE(service.is_ready());
  REQUIRE_THAT(get(port, "/healthz"), begins("HTTP/1.1 200 "));
  const auto server = server_of(service);
  REQUIRE(::kill(server, SIGKILL) == 0);
  REQUIRE(wait_until([&] { return !lives(server); }));
  CHECK_THAT(get(port, "/healthz"), begins("HTTP/1.1 200 "));
  CHECK(server_of(service) != server);
  CHECK(service.says("listener: ended by signal 9"));
  const auto outcome = service.stop();
  CHECK(outcome.status == 0);
  CHECK(wait_until([&] { return !lives(server_of(service)); }));
}

TEST_CASE("daemon --listen: SIGHUP moves the listener, and a wrong address is refused") {
  const Sandbox sandbox;
  Service service(sandbox, kQuiet);
  REQUIRE(service.is_ready());
  CHECK(children_of(service.process().pid(), Which::all).empty());
  service.reload_with("[daemon]\nlisten = 'localhost:80'\n");
  CHECK(service.says("not reloaded, the old configuration stays: daemon.listen: 'localhost:80'"));
  service.reload_with(kListen);
  const auto port = port_of(service);
  CHECK_THAT(get(port, "/healthz"), begins("HTTP/1.1 200 "));
  const Sandbox other;
  const Service second(other, "[daemon]\nlisten = '127.0.0.1:" + std::to_string(port) + "'\n");
  CHECK(second.says("listen at 127.0.0.1:" + std::to_string(port) + ": Address already in use"));
  service.reload_with(kQuiet);
  CHECK(wait_until([&] { return children_of(service.process().pid(), Which::all).empty(); }));
  CHECK(service.stop().errors.find("listener:") == std::string::npos);
}

TEST_CASE("daemon --listen: at an address that is no number nothing is listened to") {
  const Sandbox sandbox;
  for (const char* wrong : {"localhost:80", "127.0.0.1", "127.0.0.1:99999", "::1:80", ":80", "x"}) {
    INFO(wrong);
    const auto outcome = sandbox.run({"daemon", "--listen", wrong});
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.errors, Catch::Contains("daemon.listen: '"));
  }
}

}  // namespace cachectl::test
