// What the tests of commands that share a Redis server have: the server, and machines.
#pragma once

#include <catch2/catch.hpp>
#include <memory>

#include "tests/cli/support.hpp"

namespace cachectl::test {

/// redis-server on a Unix socket; it keeps nothing on disk.
class RedisProcess {
 public:
  RedisProcess() { start(); }

  [[nodiscard]] std::string socket() const { return directory_.file("redis.sock"); }
  [[nodiscard]] std::string url() const { return "unix:" + socket(); }
  [[nodiscard]] const Running& process() const { return *process_; }
  void start() {
    Program program;
    // By the name of the program that Debian has apart from the service (remote/fixture.cpp).
    program.argv = {"bash",
                    "-c",
                    "exec -a redis-server redis-check-rdb \"$@\"",
                    "redis-server",
                    "--enable-debug-command",
                    "yes",
                    "--port",
                    "0",
                    "--unixsocket",
                    socket(),
                    "--save",
                    "",
                    "--dir",
                    directory_.file("")};
    process_ = std::make_unique<Running>(program);
    REQUIRE(wait_until([&] { return say("ping") == "PONG\n"; }));
  }
  void kill() { process_.reset(); }
  [[nodiscard]] std::string say(const std::string& command) const {
    Program program;
    program.argv = {"sh", "-c", "redis-cli -s '" + socket() + "' " + command + " 2>&1"};
    return run(program).output;
  }

 private:
  TempDirectory directory_;
  std::unique_ptr<Running> process_;
};

/// How long to wait for the server: as long as a busy machine may need, or no longer than usual.
enum class Patience { long_enough, usual };

/// A machine of the fleet: a root of its own.
class Host {
 public:
  explicit Host(const RedisProcess& server, Patience patience = Patience::long_enough)
      : url_(server.url()), patience_(patience) {}

  Outcome operator()(std::vector<std::string> arguments) const {
    return run(program(std::move(arguments)));
  }
  [[nodiscard]] Program program(std::vector<std::string> arguments) const {
    auto program = sandbox_.cachectl(std::move(arguments));
    for (const std::string what : {"CONNECT", "READ", "WRITE"}) {
      if (patience_ == Patience::usual) break;
      program.environment.push_back("CACHECTL_REDIS_" + what + "_TIMEOUT=20s");
    }
    program.environment.push_back("CACHECTL_REDIS_URL=" + url_);
    return program;
  }
  [[nodiscard]] const Sandbox& sandbox() const { return sandbox_; }
  /// `run` of a source that prints how often it ran, of all hosts.
  [[nodiscard]] Outcome run_counted(const TempDirectory& common,
                                    std::vector<std::string> options = {}) const {
    std::vector<std::string> arguments{"run", "--key", "k", "--ttl", "1h"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.insert(arguments.end(), {"--", "sh", "-c",
                                       "echo x >> " + common.file("log") + "; wc -l < " +
                                           common.file("log") + "; echo note >&2"});
    return (*this)(std::move(arguments));
  }

 private:
  Sandbox sandbox_;
  std::string url_;
  Patience patience_;
};

}  // namespace cachectl::test
