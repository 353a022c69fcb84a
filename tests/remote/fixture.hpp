// What the tests of the remote tier share: a Redis server of their own, a server that answers
// what the test says, and a cache whose records are published.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "lock/child.hpp"
#include "src/remote/tier.hpp"
#include "tests/store/fixture.hpp"

namespace cachectl::test {

/// Of a Unix socket in `directory`.
[[nodiscard]] remote::Options options_at(const std::string& socket);

/// redis-server on a Unix socket of its own; ended with the object.
class RedisServer {
 public:
  /// `arguments`: as on its command line. Throws when it does not answer.
  /// `sentinel`: its configuration file; then it is a sentinel.
  explicit RedisServer(std::vector<std::string> arguments = {}, std::string sentinel = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  [[nodiscard]] remote::Options options() const { return options_at(socket()); }
  [[nodiscard]] std::string socket() const { return directory_.file("redis.sock"); }

  /// The answer to a command of the administrator; an error reply is one that begins with '-'.
  std::string say(const std::vector<std::string>& command) const;
  long long number(const std::vector<std::string>& command) const;
  /// The elements of an answer, those that are no text as "".
  [[nodiscard]] std::vector<std::string> ask_list(const std::vector<std::string>& command) const;
  [[nodiscard]] std::vector<std::string> keys() const { return ask_list({"KEYS", "*"}); }

  /// Lets a user in, with the rights that docs/fleet.md lists.
  void allow(const std::string& user, const std::string& password) const;

  /// SIGSTOP and SIGCONT.
  void stop() const;
  void go_on() const;
  /// SIGKILL, and gone.
  void kill();
  /// Anew, with nothing in it.
  void start();

 private:
  std::unique_ptr<remote::Reply> ask(const std::vector<std::string>& command) const;
  TempDirectory directory_;
  std::vector<std::string> arguments_;
  std::string sentinel_;
  std::optional<lock::Child> process_;
};

/// Listens on a Unix socket, and lets `serve` speak with each client, one after the other.
class FakeServer {
 public:
  using Serve = std::function<void(int client)>;
  explicit FakeServer(Serve serve);
  ~FakeServer();
  [[nodiscard]] remote::Options options() const { return options_at(directory_.file("s")); }
  [[nodiscard]] int clients() const { return clients_; }

 private:
  TempDirectory directory_;
  lock::Fd listening_;
  std::atomic<bool> ending_{false};
  std::atomic<int> clients_{0};
  std::thread thread_;
};

/// A cache on one machine of the fleet, and its tier.
class Machine {
 public:
  explicit Machine(remote::Options options);

  TestCache test;
  Cache cache;
  store::Root root;
  std::vector<std::string> warnings;
  int opened = 0;
  int closed = 0;
  std::unique_ptr<remote::Tier> tier;

  /// Puts it in the local cache only.
  void put_here(const Key& key, std::string_view value,
                std::chrono::nanoseconds ttl = std::chrono::nanoseconds::max());
  /// Publishes what the local cache has.
  Result<bool> publish(const Key& key) const;
  Result<bool> publish(const Key& key, std::string_view value,
                       std::chrono::nanoseconds ttl = std::chrono::nanoseconds::max());
  /// The record's bytes, as they lie on disk here.
  [[nodiscard]] std::string record(const Key& key) const;
  [[nodiscard]] store::RecordHeader header(const Key& key) const;
  /// The record's bytes; nullopt: a miss.
  [[nodiscard]] Result<std::optional<std::string>> fetch(const Key& key) const;
  /// fetch, for comparison: the bytes, "miss", or "error: …".
  [[nodiscard]] std::string seen(const Key& key) const;
};

/// The name under which a record lies in the server.
[[nodiscard]] std::string name_of(const Key& key);

/// How much later than its limit a call may return: what is promised where that is measured, on an
/// idle machine ($CACHECTL_TESTS_MEASURE); else a second, which other work there may take away.
[[nodiscard]] std::chrono::milliseconds allowed_lateness();

/// On standard error, where $CACHECTL_TESTS_MEASURE is set: for the table in docs/reliability.md.
void tell_measured(const std::string& what, std::chrono::nanoseconds longest,
                   std::chrono::nanoseconds limit);

/// `size` bytes that do not compress.
[[nodiscard]] std::string noise(std::size_t size, unsigned seed = 1);

}  // namespace cachectl::test
