#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/remote/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

TEST_CASE("remote race: two writers of a large value and its readers never mix two versions") {
  constexpr std::size_t kSize = std::size_t{9} * 1024 * 1024;
  constexpr int kRounds = 12;
  const RedisServer server;
  auto options = server.options();
  // Four processes and a server on a machine that may be busy.
  options.connect_timeout = options.read_timeout = options.write_timeout = kPatience;
  const auto key = key_of("k");
  std::vector<Forked> writers;
  for (unsigned w = 0; w < 2; ++w) {
    writers.emplace_back([&, w](const Link& link) {
      Machine here(options);
      for (int round = 0; round < kRounds; ++round) {
        // Each version is one letter, so that a mixture shows, and does not compress away.
        auto value = noise(kSize, 1);
        for (std::size_t i = 0; i < kSize; i += 1024) {
          value[i] = static_cast<char>('A' + 2 * round + static_cast<int>(w));
        }
        here.test.clock().set(SystemClock().now());
        const auto done = here.publish(key, value);
        if (!done) return link.say(done.error().describe()) ? 1 : 1;
      }
      return 0;
    });
  }
  std::vector<Forked> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&](const Link& link) {
      const Machine here(options);
      int hits = 0;
      bool mixed = false;
      std::string ending;
      while (ending.empty()) {
        const auto got = here.fetch(key);
        if (!got) return link.say(got.error().describe()) ? 1 : 1;
        if (*got) {
          ++hits;
          const auto& record = **got;
          const auto value = record.substr(record.size() - kSize);
          for (std::size_t i = 0; i < kSize; i += 1024) mixed = mixed || value[i] != value[0];
        }
        ending = link.hear(std::chrono::milliseconds(1));
        if (ending == "(silence)") ending.clear();
      }
      link.say(mixed ? "mixed" : hits > 0 ? "good" : "no hits");
      return 0;
    });
  }
  for (auto& writer : writers) CHECK(writer.wait() == 0);
  for (auto& reader : readers) reader.say("end");
  for (auto& reader : readers) CHECK(reader.hear() == "good");
  // One head and its three parts: what was superseded is gone.
  CHECK(server.keys().size() == 4);
}

}  // namespace cachectl::test
