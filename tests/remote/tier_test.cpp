#include "src/remote/tier.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "src/remote/failure.hpp"
#include "src/remote/script.hpp"
#include "tests/remote/fixture.hpp"

namespace cachectl::test {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

namespace {

constexpr std::size_t kMi = 1024 * 1024;

}  // namespace

TEST_CASE("remote tier: another machine gets the very bytes of the record") {
  const RedisServer server;
  Machine here(server.options());
  const Machine there(server.options());
  const auto key = key_of("a key\n with bytes");
  for (const std::size_t size : {std::size_t{0}, std::size_t{1024}, 8 * kMi, 9 * kMi, 64 * kMi}) {
    for (const bool compressible : {true, false}) {
      if (compressible && size > 9 * kMi) continue;
      INFO(size << (compressible ? " bytes that compress" : " bytes that do not"));
      REQUIRE(*here.publish(key, compressible ? std::string(size, 'x') : noise(size)));
      const bool same = there.seen(key) == here.record(key);
      CHECK(same);
    }
  }
  CHECK(there.warnings.empty());
}

TEST_CASE("remote tier: what compresses well is sent compressed, what does not as it is") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  const auto stored = [&](const std::string& value) {
    REQUIRE(*here.publish(key, value));
    return server.number({"STRLEN", name_of(key)});
  };
  const auto around = static_cast<long long>(store::RecordHeader::kSize + key.bytes().size() + 40);
  CHECK(stored(std::string(100'000, 'x')) < 1000);
  CHECK(stored(noise(100'000)) == 100'000 + around);
  CHECK(stored(std::string(1000, 'x')) == 1000 + around);  // not above compress-above
}

TEST_CASE("remote tier: a key that nobody published is a miss") {
  const RedisServer server;
  const Machine here(server.options());
  CHECK(here.seen(key_of("k")) == "miss");
  CHECK(here.warnings.empty());
  CHECK_FALSE(*here.tier->remove(key_of("k")));
}

TEST_CASE("remote tier: the server lets go of a record at the later end of its stale windows") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  const auto size = GENERATE(std::size_t{10}, 9 * kMi);
  REQUIRE(*here.publish(key, noise(size), 10min));
  const auto about = [&](const std::string& name, std::chrono::milliseconds ttl) {
    const auto left = server.number({"PTTL", name});
    return left <= ttl.count() && left > ttl.count() - 30'000;
  };
  for (const auto& name : server.keys()) CHECK(about(name, 10min));
  // The windows, in a record that says so.
  auto header = here.header(key);
  header.stale_while_revalidate = 5min;
  header.stale_if_error = 20min;
  auto bytes = here.record(key);
  const auto head = store::encode(header, key.bytes());
  bytes.replace(0, head.size(), reinterpret_cast<const char*>(head.data()), head.size());
  write_file(here.test.record(key), bytes);
  REQUIRE(*here.publish(key));
  for (const auto& name : server.keys()) CHECK(about(name, 30min));
  // Without an end.
  here.test.clock().advance(1s);
  REQUIRE(*here.publish(key, noise(size)));
  for (const auto& name : server.keys()) CHECK(server.number({"PTTL", name}) == -1);
}

TEST_CASE("remote tier: what nobody may serve any more is not published") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  here.put_here(key, "old", 1min);
  here.test.clock().advance(2min);
  CHECK_FALSE(*here.publish(key));
  CHECK(server.keys().empty());
}

TEST_CASE("remote tier: an older version never replaces a newer one") {
  const RedisServer server;
  Machine first(server.options());
  Machine second(server.options());
  const auto key = key_of("k");
  const auto size = GENERATE(std::size_t{10}, 9 * kMi);
  first.test.clock().set(second.test.clock().now() - 1s);
  REQUIRE(*second.publish(key, noise(size, 2)));
  const auto names = server.keys().size();
  CHECK_FALSE(*first.publish(key, noise(size, 1)));
  CHECK(second.seen(key) == second.record(key));
  CHECK(server.keys().size() == names);  // no chunks are left behind
  // Published again, it is as new as itself.
  CHECK(*second.publish(key));
  first.test.clock().advance(1s + 1ns);
  CHECK(*first.publish(key, noise(size, 1)));
  CHECK(second.seen(key) == first.record(key));
  CHECK(server.keys().size() == names);
}

TEST_CASE("remote tier: of two made at one time the higher generation is the newer") {
  const RedisServer server;
  Machine first(server.options());
  Machine second(server.options());
  second.test.clock().set(first.test.clock().now());
  const auto key = key_of("k");
  first.put_here(key, "1");
  second.put_here(key, "before");
  second.put_here(key, "2");
  REQUIRE(second.header(key).generation > first.header(key).generation);
  REQUIRE(second.header(key).created == first.header(key).created);
  CHECK(*second.publish(key));
  CHECK_FALSE(*first.publish(key));
  CHECK(first.seen(key) == second.record(key));
}

TEST_CASE("remote tier: one that claims to be from the future is replaced") {
  const RedisServer server;
  Machine wrong(server.options());
  Machine right(server.options());
  wrong.test.clock().advance(1h);
  const auto key = key_of("k");
  REQUIRE(*wrong.publish(key, "from a clock that is fast"));
  CHECK(*right.publish(key, "now"));
  CHECK(wrong.seen(key) == right.record(key));
}

TEST_CASE("remote tier: a value in parts takes its parts with it") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, noise(9 * kMi)));
  CHECK(server.keys().size() == 1 + 3);
  for (const auto& name : server.keys()) CHECK(name.starts_with(name_of(key)));
  SECTION("when a small one replaces it") {
    here.test.clock().advance(1s);
    REQUIRE(*here.publish(key, "small"));
    CHECK(server.keys().size() == 1);
  }
  SECTION("when it is removed") {
    CHECK(*here.tier->remove(key));
    CHECK(server.keys().empty());
  }
}

TEST_CASE("remote tier: a part that is gone is a miss") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, noise(9 * kMi)));
  const auto names = server.keys();
  const auto gone = GENERATE(0, 1, 2);
  for (const auto& name : names) {
    if (name.ends_with(':' + std::to_string(gone))) server.say({"DEL", name});
  }
  CHECK(here.seen(key) == "miss");
}

TEST_CASE("remote tier: many keys in one go, each with its own result") {
  const RedisServer server;
  Machine here(server.options());
  std::vector<Key> keys;
  std::vector<store::RecordHeader> headers;
  std::vector<lock::Fd> files;
  std::vector<remote::RecordFile> records;
  for (int i = 0; i < 100; ++i) {
    keys.push_back(key_of("key " + std::to_string(i)));
    here.put_here(keys.back(), i == 50 ? noise(9 * kMi) : std::to_string(i));
  }
  for (int i = 0; i < 100; i += 2) {
    headers.push_back(here.header(keys[static_cast<std::size_t>(i)]));
    files.emplace_back(
        ::open(here.test.record(keys[static_cast<std::size_t>(i)]).c_str(), O_RDONLY | O_CLOEXEC));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    records.push_back({&keys[2 * i], &headers[i], files[i].get()});
  }
  for (const auto& result : here.tier->publish_many(records)) CHECK(*result);
  server.say({"SET", name_of(keys[4]), "garbage"});
  server.say({"DEL", name_of(keys[6])});
  server.say({"LPUSH", name_of(keys[6]), "x"});
  std::vector<std::string> got(keys.size());
  const auto results =
      here.tier->fetch_many(keys, [&](std::size_t index, lock::Bytes part) -> Result<void> {
        if (index == 8) return fail(Errc::io, "no room here");
        got[index].append(reinterpret_cast<const char*>(part.data()), part.size());
        return {};
      });
  REQUIRE(results.size() == keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    INFO(i);
    if (i == 6 || i == 8) {
      REQUIRE_FALSE(results[i]);
      CHECK(results[i].error().code == (i == 6 ? Errc::remote_refused : Errc::io));
      continue;
    }
    REQUIRE(results[i]);
    CHECK(*results[i] == (i % 2 == 0 && i != 4));
    const bool same = got[i] == (*results[i] ? here.record(keys[i]) : "");
    CHECK(same);
  }
  CHECK(here.warnings.size() == 1);
  CHECK(here.tier->fetch_many({}, {}).empty());
}

TEST_CASE("remote tier: what is damaged here does not spread") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  const auto size = GENERATE(std::size_t{1000}, 9 * kMi);
  here.put_here(key, noise(size));
  auto bytes = here.record(key);
  bytes[bytes.size() - 1] = static_cast<char>(bytes.back() ^ 1);
  write_file(here.test.record(key), bytes);
  const auto done = here.publish(key);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == Errc::corrupt);
  CHECK(server.keys().empty());
  write_file(here.test.record(key), bytes.substr(0, bytes.size() - 1));
  CHECK(here.publish(key).error().code == Errc::corrupt);
  CHECK(server.keys().empty());
}

TEST_CASE("remote tier: the script is known by its name") {
  const RedisServer server;
  CHECK(server.say({"SCRIPT", "LOAD", std::string(remote::kPublishScript)}) ==
        remote::kPublishScriptName);
}

TEST_CASE("remote tier: nothing connects before the first call") {
  const RedisServer server;
  const auto connections = [&] {
    const auto info = server.say({"INFO", "stats"});
    return std::stol(info.substr(info.find("total_connections_received:") + 27));
  };
  const auto before = connections();
  const Machine here(server.options());
  CHECK(connections() == before + 1);  // the question itself
  CHECK(here.seen(key_of("k")) == "miss");
  CHECK(connections() == before + 3);
}

}  // namespace cachectl::test
