#include <catch2/catch.hpp>

#include "tests/remote/fixture.hpp"

namespace cachectl::test {

namespace {

/// What is found when `value` lies where the record of `key` should.
std::string found(const RedisServer& server, const Machine& machine, const Key& key,
                  const std::string& value) {
  if (server.say({"SET", name_of(key), value}) != "OK") return "not stored";
  return machine.seen(key);
}

}  // namespace

TEST_CASE("remote damage: each byte of a value counts") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  const bool compressible = GENERATE(true, false);
  REQUIRE(*here.publish(key, compressible ? std::string(5000, 'x') : noise(300)));
  const auto good = server.say({"GET", name_of(key)});
  REQUIRE(found(server, here, key, good) == here.record(key));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int bits : {1, 0x80, 0xff}) {
      auto bad = good;
      bad[at] = static_cast<char>(bad[at] ^ bits);
      INFO("byte " << at << " with " << bits);
      const bool miss = found(server, here, key, bad) == "miss";
      CHECK(miss);
    }
    const bool miss = found(server, here, key, good.substr(0, at)) == "miss";
    CHECK(miss);
  }
  CHECK(found(server, here, key, good + '\0') == "miss");
  CHECK(here.warnings.size() == 4 * good.size() + 1);
  CHECK(here.warnings.front().find("'k'") != std::string::npos);
  // The way out that the warning names.
  REQUIRE(*here.publish(key));
  CHECK(here.seen(key) == here.record(key));
}

TEST_CASE("remote damage: a record under the name of another key is a miss") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  const auto other = key_of("other");
  REQUIRE(*here.publish(other, "value"));
  CHECK(found(server, here, key, server.say({"GET", name_of(other)})) == "miss");
}

TEST_CASE("remote damage: a part of a large value that is damaged is found out") {
  const RedisServer server;
  Machine here(server.options());
  const auto key = key_of("k");
  REQUIRE(*here.publish(key, noise(std::size_t{9} * 1024 * 1024)));
  const auto part = GENERATE(0, 1, 2);
  for (const auto& name : server.keys()) {
    if (!name.ends_with(':' + std::to_string(part))) continue;
    const auto way = GENERATE(0, 1, 2, 3);
    INFO("part " << part << " by way " << way);
    auto value = server.say({"GET", name});
    if (way == 0) value[value.size() / 2] = static_cast<char>(value[value.size() / 2] ^ 1);
    if (way == 1) value.pop_back();
    if (way == 2) value = "garbage";
    if (way == 3) {  // a good part, and not the one that belongs here
      auto next = name;
      next.back() = part == 0 ? '1' : '0';
      value = server.say({"GET", next});
    }
    REQUIRE(server.say({"SET", name, value}) == "OK");
    const auto got = here.fetch(key);
    if (part == 0) {
      CHECK((got && !*got));
      CHECK(here.warnings.size() == 1);
    } else {
      REQUIRE_FALSE(got);
      CHECK(got.error().code == Errc::corrupt);
    }
  }
}

}  // namespace cachectl::test
