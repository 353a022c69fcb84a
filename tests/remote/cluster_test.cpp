#include "src/remote/cluster.hpp"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <latch>
#include <thread>

#include "src/remote/failure.hpp"
#include "src/remote/fleet_lease.hpp"
#include "tests/remote/cluster_servers.hpp"

namespace cachectl::test {

using remote::Reply;
using remote::slot_of;

namespace {

Reply error_reply(std::string text) {
  Reply reply;
  reply.type = Reply::Type::error;
  reply.text = std::move(text);
  return reply;
}

/// What failed, for messages; empty: nothing.
std::string failures_of(const std::vector<Result<bool>>& results) {
  std::string text;
  for (const auto& result : results) {
    if (!result) text += result.error().describe() + '\n';
  }
  return text;
}

}  // namespace

TEST_CASE(
    "remote cluster: a slot is what the specification says, and all names of a key share it") {
  CHECK(slot_of("123456789") == 0x31c3);
  CHECK(slot_of("foo") == 12182);
  CHECK(slot_of("x{foo}y") == 12182);
  CHECK(slot_of("x{}{foo}") == slot_of("x{}{foo}"));
  CHECK(slot_of("{foo") != 12182);
  CHECK(slot_of("{{foo}") == slot_of("{foo"));
  const auto key = key_of("k");
  const remote::Names names("cachectl:");
  CHECK(slot_of(names.head(key)) == slot_of(key.hash().hex()));
  CHECK(slot_of(names.chunk(key, {}, 3)) == slot_of(names.head(key)));
  CHECK(slot_of(names.lead(key)) == slot_of(names.head(key)));
  CHECK(slot_of(names.wake(key, "t")) == slot_of(names.head(key)));
}

TEST_CASE("remote cluster: an answer that sends us elsewhere is read, and no other") {
  using Kind = remote::Redirection::Kind;
  const auto who = must(remote::parse_host_and_port("here:7000", 0));
  const auto read = [&](std::string text) {
    return remote::redirection_in(error_reply(std::move(text)), who);
  };
  const auto moved = read("MOVED 3999 10.0.0.1:6381");
  REQUIRE(moved);
  CHECK(moved->kind == Kind::moved);
  CHECK(moved->slot == 3999);
  CHECK(moved->to.describe() == "redis://10.0.0.1:6381");
  CHECK(read("MOVED 3999 ::1:6381")->to.describe() == "redis://[::1]:6381");
  CHECK(read("MOVED 3999 :6381")->to.describe() == "redis://here:6381");
  CHECK(read("MOVED 3999 ?:6381")->to.describe() == "redis://here:6381");
  CHECK(read("ASK 1 a:2")->kind == Kind::ask);
  CHECK(read("TRYAGAIN Multiple keys")->kind == Kind::again);
  CHECK(read("READONLY You can't")->kind == Kind::read_only);
  for (const char* text :
       {"", "MOVED", "MOVED 1", "MOVED 1 host", "MOVED 1 host:", "MOVED 1 h:0", "MOVED 1 h:99999",
        "MOVED 16384 h:1", "MOVED -1 h:1", "MOVED 1 -h:1", "MOVEDX 1 h:1", "ERR unknown command"}) {
    INFO(text);
    CHECK_FALSE(read(text));
  }
}

TEST_CASE("remote cluster: values lie on all servers, and are found, replaced and removed there") {
  RedisCluster cluster;
  Machine here(cluster.options());
  std::vector<Key> keys;
  for (int i = 0; i < 300; ++i) keys.push_back(key_of("key" + std::to_string(i)));
  std::vector<store::RecordHeader> headers;
  std::vector<lock::Fd> files;
  std::vector<remote::RecordFile> records;
  headers.reserve(keys.size());
  for (const auto& key : keys) {
    here.put_here(key, key.bytes());
    headers.push_back(here.header(key));
    files.emplace_back(::open(here.test.record(key).c_str(), O_RDONLY | O_CLOEXEC));
    records.push_back({&key, &headers.back(), files.back().get()});
  }
  CHECK(failures_of(here.tier->publish_many(records)).empty());
  long long stored = 0;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    const auto own = cluster.node(i).number({"DBSIZE"});
    CHECK(own > 50);
    stored += own;
  }
  CHECK(stored == 300);
  // A machine that knows one of them finds all, with no more rights than docs/fleet.md lists.
  auto limited = cluster.options(1);
  limited.server.user = "ci";
  limited.password = "pw";
  for (std::size_t i = 0; i < cluster.size(); ++i) cluster.node(i).allow("ci", "pw");
  Machine there(limited);
  std::vector<std::string> got(keys.size());
  const auto results =
      there.tier->fetch_many(keys, [&](std::size_t index, lock::Bytes part) -> Result<void> {
        got[index].append(reinterpret_cast<const char*>(part.data()), part.size());
        return {};
      });
  CHECK(failures_of(results).empty());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    CHECK(*results[i]);
    CHECK(got[i] == here.record(keys[i]));
  }
  for (std::size_t home = 0; home < cluster.size(); ++home) {
    const auto key = cluster.key_at(home);
    REQUIRE(*here.publish(key, noise(std::size_t{9} * 1000 * 1000)));
    CHECK((there.seen(key) == here.record(key)));
    CHECK(*there.tier->remove(key));
    CHECK_FALSE(*there.tier->remove(key));
    CHECK(here.seen(key) == "miss");
    auto lease = must(remote::FleetLease::lead(*here.tier, key, lock::Deadline::never()));
    REQUIRE(lease);
    here.put_here(key, "led");
    const lock::Fd file(::open(here.test.record(key).c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(*here.tier->publish(key, here.header(key), file.get(), lease->fence()));
    lease.reset();
    CHECK(there.seen(key) == here.record(key));
  }
  CHECK(cluster.node(0).number({"DBSIZE"}) + cluster.node(1).number({"DBSIZE"}) +
            cluster.node(2).number({"DBSIZE"}) ==
        303 + 3);  // and what woke nobody
}

TEST_CASE("remote cluster: who was sent on once asks the right server from then on") {
  RedisCluster cluster;
  Machine here(cluster.options());
  const auto key = cluster.key_at(0);
  REQUIRE(*here.publish(key, "value"));
  cluster.move_slot(slot_of(name_of(key)), 0, 2);
  for (int i = 0; i < 3; ++i) CHECK(here.seen(key) == here.record(key));
  CHECK(cluster.node(0).say({"INFO", "errorstats"}).find("MOVED:count=1\r") != std::string::npos);
}

TEST_CASE("remote cluster: slots that move under load cost no call and no value") {
  RedisCluster cluster;
  const auto options = cluster.options();
  std::atomic<bool> is_over{false};
  std::atomic<int> rounds{0};
  std::mutex mutex;
  std::vector<std::string> wrong;
  const auto blame = [&](std::string what) {
    const std::lock_guard guard(mutex);
    wrong.push_back(std::move(what));
  };
  std::vector<Key> keys;
  for (int i = 0; i < 30; ++i) keys.push_back(cluster.key_at(0));
  // Two machines publish and take the same keys; what is taken is a whole version of the key.
  const auto work = [&](const std::string& name) {
    Machine machine(options);
    for (int round = 0; !is_over; ++round) {
      for (const auto& key : keys) {
        machine.test.clock().advance(std::chrono::milliseconds(1));
        const auto value = key.bytes() + " of " + name + std::to_string(round);
        if (const auto put = machine.publish(key, value); !put) blame(put.error().describe());
        const auto got = machine.fetch(key);
        if (!got) blame(got.error().describe());
        if (got && !*got) blame("a miss of what was published");
        if (got && *got && (*got)->find(key.bytes() + " of ") == std::string::npos) {
          blame("another key's value");
        }
      }
      ++rounds;
    }
    for (auto& warning : machine.warnings) blame(warning);
  };
  std::thread one(work, "one");
  std::thread two(work, "two");
  const auto wait_for_rounds = [&](int more) {
    const int now = rounds;
    CHECK(wait_until([&] { return rounds >= now + more; }));
  };
  wait_for_rounds(2);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto slot = slot_of(name_of(keys[i]));
    const auto while_open =
        i % 10 == 0 ? std::function<void()>([&] { wait_for_rounds(2); }) : std::function<void()>();
    cluster.move_slot(slot, 0, 1 + i % 2, while_open);
  }
  wait_for_rounds(2);
  is_over = true;
  one.join();
  two.join();
  std::string all;
  for (const auto& what : wrong) all += what + '\n';
  CHECK(all.empty());
  CHECK(cluster.node(0).number({"DBSIZE"}) == 0);
}

TEST_CASE("remote cluster: while a slot moves, values in chunks and leases are right or missing") {
  RedisCluster cluster;
  Machine here(cluster.options());
  Machine there(cluster.options());
  const auto key = cluster.key_at(0);
  const auto fresh = cluster.key_at(0);
  REQUIRE(*here.publish(key, noise(std::size_t{9} * 1000 * 1000)));
  cluster.move_slot(slot_of(name_of(key)), 0, 1, [&] {
    CHECK((there.seen(key) == here.record(key)));
    // Some of the parts have moved.
    const auto names = cluster.node(0).keys();
    for (const auto& name : names) {
      if (name.find(':', 9) == std::string::npos) continue;
      REQUIRE(cluster.node(0).say({"MIGRATE", "127.0.0.1", std::to_string(cluster.port(1)), name,
                                   "0", "5000"}) == "OK");
      break;
    }
    CHECK((there.seen(key) == here.record(key)));
  });
  CHECK((there.seen(key) == here.record(key)));
  // A lease that was taken before, and a publish under it.
  auto lease = must(remote::FleetLease::lead(*here.tier, fresh, lock::Deadline::never()));
  REQUIRE(lease);
  here.put_here(fresh, "led");
  const lock::Fd file(::open(here.test.record(fresh).c_str(), O_RDONLY | O_CLOEXEC));
  std::thread mover;
  std::latch is_open(1);
  mover = std::thread(
      [&] { cluster.move_slot(slot_of(name_of(fresh)), 0, 2, [&] { is_open.count_down(); }); });
  is_open.wait();
  // TRYAGAIN until the slot has moved.
  const auto put = here.tier->publish(fresh, here.header(fresh), file.get(), lease->fence());
  mover.join();
  REQUIRE(put);
  CHECK(*put);
  lease.reset();
  CHECK(there.seen(fresh) == here.record(fresh));
  CHECK(here.warnings.empty());
  CHECK(there.warnings.empty());
}

TEST_CASE("remote cluster: servers that send us to each other for ever are left after some steps") {
  RedisCluster cluster;
  Machine here(cluster.options());
  const auto key = cluster.key_at(0);
  CHECK(here.seen(key) == "miss");
  const auto slot = std::to_string(slot_of(name_of(key)));
  REQUIRE(cluster.node(0).say({"CLUSTER", "SETSLOT", slot, "NODE", cluster.id(1)}) == "OK");
  const auto start = std::chrono::steady_clock::now();
  const auto got = here.fetch(key);
  const auto took = std::chrono::steady_clock::now() - start;
  REQUIRE_FALSE(got);
  CHECK(got.error().describe().find("MOVED") != std::string::npos);
  CHECK(took < std::chrono::seconds(2));
  std::size_t sent_on = 0;
  for (const std::size_t one : {std::size_t{0}, std::size_t{1}}) {
    const auto errors = cluster.node(one).say({"INFO", "errorstats"});
    const auto at = errors.find("MOVED:count=");
    REQUIRE(at != std::string::npos);
    sent_on += std::stoul(errors.substr(at + 12));
  }
  CHECK(sent_on == 1 + remote::Route::kMostDetours);
  // That is no failure of theirs.
  CHECK(here.opened == 0);
  CHECK(here.seen(cluster.key_at(1)) == "miss");
}

TEST_CASE("remote cluster: one dead server costs its own values, and no others") {
  RedisCluster cluster;
  Machine here(cluster.options());
  std::vector<Key> keys;
  for (std::size_t home = 0; home < cluster.size(); ++home) {
    keys.push_back(cluster.key_at(home));
    REQUIRE(*here.publish(keys.back(), "value"));
  }
  const bool is_killed = GENERATE(true, false);
  INFO((is_killed ? "killed" : "stopped"));
  const auto dead = std::size_t{1};
  is_killed ? cluster.node(dead).kill() : cluster.node(dead).stop();
  const auto most = [&](const remote::Options& options) {
    return 2 * options.connect_timeout + 2 * options.read_timeout + options.write_timeout +
           allowed_lateness();
  };
  int asked = 0;
  std::chrono::nanoseconds longest{};
  const auto opens = [&] {
    ++asked;
    const auto start = std::chrono::steady_clock::now();
    const auto got = here.fetch(keys[dead]);
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - start);
    REQUIRE_FALSE(got);
    CHECK(remote::kind_of(got.error()) == remote::Kind::connection);
    for (const std::size_t home : {std::size_t{0}, std::size_t{2}}) {
      CHECK(here.seen(keys[home]) == here.record(keys[home]));
    }
    return here.opened == 1;
  };
  CHECK(wait_until(opens));
  CHECK(asked >= 5);
  CHECK(longest < most(cluster.options()));
  tell_measured(is_killed ? "a node killed" : "a node stopped", longest, most(cluster.options()));
  const auto results =
      here.tier->fetch_many(keys, [](std::size_t, lock::Bytes) -> Result<void> { return {}; });
  CHECK(*results[0]);
  REQUIRE_FALSE(results[dead]);
  CHECK(results[dead].error().code == Errc::left_alone);
  CHECK(*results[2]);
  // Another process of this machine learns who is where, and knows who is left alone.
  Machine other(cluster.options());
  CHECK(other.seen(keys[0]) == here.record(keys[0]));
  if (is_killed) {
    cluster.node(dead).start();
  } else {
    cluster.node(dead).go_on();
  }
  CHECK(wait_until([&] { return !here.seen(keys[dead]).starts_with("error: "); }));
}

TEST_CASE("remote cluster: without any of its servers a call fails in time, and comes back") {
  RedisCluster cluster;
  Machine here(cluster.options());
  const auto key = cluster.key_at(2);
  for (std::size_t i = 0; i < cluster.size(); ++i) cluster.node(i).stop();
  const auto options = cluster.options();
  const auto limit = options.connect_timeout + options.read_timeout;
  std::chrono::nanoseconds longest{};
  for (int i = 0; i < 8; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto got = here.fetch(key);
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - start);
    REQUIRE_FALSE(got);
    CHECK(remote::kind_of(got.error()) == remote::Kind::connection);
  }
  CHECK(longest < limit + allowed_lateness());
  tell_measured("all nodes stopped", longest, limit);
  for (std::size_t i = 0; i < cluster.size(); ++i) cluster.node(i).go_on();
  CHECK(wait_until([&] { return here.seen(key) == "miss"; }));
}

TEST_CASE("remote cluster: a server that is none, and a prefix that chooses slots, are refused") {
  const RedisServer single;
  auto options = single.options();
  options.topology = remote::Topology::cluster;
  options.seeds = {options.server};
  const Machine here(options);
  const auto got = here.fetch(key_of("k"));
  REQUIRE_FALSE(got);
  CHECK(got.error().describe().find("cluster support disabled") != std::string::npos);
  TestCache test;
  const auto root = test.open_root();
  options.prefix = "a{b}:";
  CHECK_FALSE(remote::Tier::open(options, root.directory(), 0600, test.clock(), {}));
}

}  // namespace cachectl::test
