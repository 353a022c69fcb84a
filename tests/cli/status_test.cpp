// `cachectl status`: what is there, who holds it, who waits.
#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "tests/cli/daemons.hpp"
#include "tests/cli/leases.hpp"

namespace cachectl::test {

namespace {

nlohmann::json status_of(const Sandbox& sandbox, std::vector<std::string> arguments = {}) {
  arguments.insert(arguments.begin(), {"status", "--json"});
  const auto outcome = sandbox.run(arguments);
  INFO(outcome.errors);
  REQUIRE(outcome.status == 0);
  auto status = nlohmann::json::parse(outcome.output);
  UNSCOPED_INFO(status.dump(2));
  CHECK(status["version"] == 1);
  return status;
}

std::size_t width_of(const std::string& line) {
  return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80;
  }));
}

}  // namespace

TEST_CASE("status: a cache that is not there is said to be so, and not made") {
  const Sandbox sandbox;
  CHECK(status_of(sandbox)["exists"] == false);
  const auto outcome = sandbox.run({"status"});
  CHECK(outcome.status == 0);
  CHECK(outcome.output == "cache    " + sandbox.root() + ": not there yet\n");
  CHECK_FALSE(std::filesystem::exists(sandbox.root()));
}

TEST_CASE("status: counts entries by their windows, trees, damage, and sizes against limits") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "fresh", "12345"}).status == 0);
  REQUIRE(sandbox.run({"set", "expired", "--ttl", "1ms", "1"}).status == 0);
  REQUIRE(sandbox
              .run({"run", "--key", "stale", "--ttl", "1ms", "--stale-while-revalidate", "1h", "--",
                    "echo", "1"})
              .status == 0);
  write_file(sandbox.file("content"), std::string(100'000, 'x'));
  REQUIRE(sandbox.run({"set", "tree", "--dir", sandbox.file("content")}).status == 0);
  REQUIRE(sandbox.run({"set", "tree", "--dir", sandbox.file("content")}).status == 0);
  auto status = status_of(sandbox, {});
  const auto& entries = status["entries"];
  CHECK(entries["count"] == 4);
  CHECK(entries["fresh"] == 2);
  CHECK(entries["stale"] == 1);
  CHECK(entries["expired"] == 1);
  CHECK(entries["trees"] == 1);
  CHECK(entries["damaged"] == 0);
  CHECK(entries["bytes"].get<int>() > 100'000 + 4 * 128);
  CHECK(entries["bytes"].get<int>() < 100'000 + 4 * 128 + 500);
  CHECK(status["superseded_trees"] == 1);
  CHECK(status["limits"]["bytes"].is_null());
  CHECK(status["daemon"].is_null());
  CHECK(status["locks"].empty());

  auto program = sandbox.cachectl({"status"});
  program.environment.emplace_back("CACHECTL_GC_MAX_SIZE=5M");
  CHECK_THAT(run(program).output, Catch::Contains("4: 2 fresh, 1 stale, 1 expired; 1 trees\n") &&
                                      Catch::Contains("KiB of 5 MiB (gc.max-size)\n") &&
                                      Catch::Contains("daemon   none runs\n") &&
                                      !Catch::Contains("\x1b"));

  const auto file = nlohmann::json::parse(sandbox.run({"show", "--json", "fresh"}).output)["file"]
                        .get<std::string>();
  write_file(file, "no record");
  CHECK(status_of(sandbox)["entries"]["damaged"] == 1);
  CHECK_THAT(sandbox.run({"status"}).output, Catch::Contains("; 1 damaged\n"));
}

TEST_CASE("status: says who holds the lock of a key, and who waits for it") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "k", "v"}).status == 0);
  Running holder(sandbox.cachectl({"lock", "--key", "k", "--", "sh", "-c", "echo; exec sleep 60"}));
  REQUIRE(wait_until([&] { return holder.output() == "\n"; }));
  Running waiter(sandbox.cachectl({"set", "k", "new"}));
  Running other(sandbox.cachectl({"set", "k", "newer"}));
  // One look may miss what the next one finds (see below).
  nlohmann::json status;
  REQUIRE(wait_until([&] {
    status = status_of(sandbox);
    return status["locks"][0]["waiting"] == 2;
  }));
  REQUIRE(status["locks"].size() == 1);
  const auto& lock = status["locks"][0];
  CHECK(lock["kind"] == "key");
  CHECK(lock["key"] == "k");
  CHECK(lock["mode"] == "exclusive");
  CHECK(lock["depth"] == 0);
  CHECK(lock["owner"]["pid"] == holder.pid());
  CHECK_THAT(lock["owner"]["command"].get<std::string>(), Catch::Contains("sleep 60"));
  CHECK(lock["since"].is_string());
  const auto holders = lock["holder_pids"].get<std::set<pid_t>>();
  CHECK(holders.count(holder.pid()) == 1);
  CHECK(holders.count(waiter.pid()) == 0);
  std::set<pid_t> waiters;
  for (const auto& each : lock["waiters"]) waiters.insert(each["pid"].get<pid_t>());
  CHECK(waiters == std::set<pid_t>{waiter.pid(), other.pid()});
  std::string text;
  CHECK(wait_until([&] {
    text = sandbox.run({"status"}).output;
    return text.find(std::to_string(waiter.pid())) != std::string::npos;
  }));
  CHECK_THAT(text,
             Catch::Contains("\nkey k                      exclusive") && Catch::Contains("waits"));
}

TEST_CASE("status: tells the lock of the whole cache from that of a key") {
  const Sandbox sandbox;
  const auto reader = acquire(sandbox, {"--shared", "a key"});
  // Waits for the whole, and keeps others from passing it.
  Running whole(sandbox.cachectl({"lock", "--", "sh", "-c", "echo got; exec sleep 60"}));
  // One look may miss what the next one finds (see below).
  nlohmann::json status;
  REQUIRE(wait_until([&] {
    status = status_of(sandbox);
    std::multiset<std::string> found;
    for (const auto& lock : status["locks"]) found.insert(lock["kind"]);
    return found == std::multiset<std::string>{"key", "turn"};
  }));
  const auto& key = status["locks"][status["locks"][0]["kind"] == "key" ? 0 : 1];
  CHECK(key["mode"] == "shared");
  CHECK(key["key"] == "a key");  // that of the lease: nothing is stored
  CHECK(key["waiting"] == 1);
  REQUIRE(key["waiters"].size() == 1);
  CHECK(key["waiters"][0]["pid"] == whole.pid());
  REQUIRE(sandbox.run({"release", reader}).status == 0);
  REQUIRE(wait_until([&] { return whole.output() == "got\n"; }));
  nlohmann::json held;
  REQUIRE(wait_until([&] {
    held = status_of(sandbox);
    return held["locks"].size() == 1;
  }));
  CHECK(held["locks"][0]["kind"] == "cache");
  CHECK(held["locks"][0]["owner"]["pid"] == whole.pid());
}

TEST_CASE("status: lists leases with owner and expiry, the daemon, and replicas by state") {
  const Sandbox sandbox;
  REQUIRE(sandbox.run({"set", "site", "--dir", sandbox.file("work")}).status == 0);
  REQUIRE(sandbox.run({"pool", "exec", "site", "--", "true"}).status == 0);
  const auto replica = sandbox.run({"pool", "checkout", "site"});
  REQUIRE(replica.status == 0);
  const auto id = acquire(sandbox, {"--lease", "1h", "k"});
  const Service service(sandbox, warm_entry("warm", "echo 1"));
  REQUIRE(service.is_ready());
  const auto status = status_of(sandbox);
  CHECK(status["daemon"]["pid"].is_number());
  CHECK(status["daemon"]["since"].get<std::string>().ends_with("Z"));
  REQUIRE(status["pools"].size() == 1);
  CHECK(status["pools"][0]["key"] == "site");
  CHECK(status["pools"][0]["leased"] == 1);
  REQUIRE(status["leases"].size() == 2);
  const auto& lease = status["leases"][status["leases"][0]["id"] == id ? 0 : 1];
  CHECK(lease["id"] == id);
  CHECK(lease["holds"] == "key k");
  CHECK(lease["owner"]["pid"] == ::getpid());
  CHECK(lease["expires"].is_string());
}

TEST_CASE("status: fits 80 columns, whatever keys and commands are called") {
  const Sandbox sandbox;
  const std::string nasty = "\x1b[31m" + std::string(300, 'k') + "é";
  REQUIRE(sandbox.run({"set", nasty, "v"}).status == 0);
  acquire(sandbox, {nasty});
  Running holder(sandbox.cachectl({"lock", "--key", "other", "--", "sh", "-c",
                                   "echo; exec sleep 60 # " + std::string(300, 'x')}));
  REQUIRE(wait_until([&] { return holder.output() == "\n"; }));
  const auto outcome = sandbox.run({"status"});
  const auto lines = lines_of(outcome.output);
  CHECK(lines.size() > 8);
  for (std::size_t row = 1; row < lines.size(); ++row) {  // the first is the path of the cache
    INFO(lines[row]);
    CHECK(width_of(lines[row]) <= 80);
  }
  CHECK(outcome.output.find('\x1b') == std::string::npos);
}

TEST_CASE("status: looks at thousands of entries and 100 leases in a moment") {
  const Sandbox sandbox;
  const int count = is_sanitized() ? 4'000 : 20'000;
  std::string lines;
  for (int n = 0; n < count; ++n)
    lines += "{\"key\":\"k" + std::to_string(n) + "\",\"value\":\"\"}\n";
  auto program = sandbox.cachectl({"set", "--batch", "--durability", "none"});
  program.input = lines;
  REQUIRE(run(program).status == 0);
  for (int n = 0; n < 100; ++n) acquire(sandbox, {"k" + std::to_string(n)});
  const auto start = std::chrono::steady_clock::now();
  const auto status = status_of(sandbox);
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(status["entries"]["count"] == count);
  CHECK(status["leases"].size() == 100);
  // The kernel lists the locks of the machine page by page: what others lock and unlock meanwhile
  // can hide one from a look.
  CHECK(wait_until([&] { return status_of(sandbox)["locks"].size() == 100; }));
  CHECK(status["locks"][0]["key"].get<std::string>().starts_with("k"));
  CHECK(took < std::chrono::seconds(is_sanitized() ? 60 : 10));
}

}  // namespace cachectl::test
