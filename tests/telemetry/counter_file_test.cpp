#include "src/telemetry/counter_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <thread>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::test {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using telemetry::Counter;
using telemetry::CounterFile;
using telemetry::Timing;

namespace fs = std::filesystem;

namespace {

/// A root to count in.
class Place {
 public:
  Place() : root_(test.open_root()) {}
  TestCache test;

  [[nodiscard]] const lock::Directory& root() const { return root_.directory(); }
  [[nodiscard]] std::string path() const { return test.file(CounterFile::kName); }
  [[nodiscard]] std::optional<CounterFile> open() const { return CounterFile::open(root(), 0600); }

  /// Counts one hit, as a process does that finds the file as it is.
  void count() const {
    auto file = open();
    REQUIRE(file);
    CHECK(file->add(0, Counter::hits, 1));
  }
  /// What all rows have of a counter; -1: there is no file that can be read.
  [[nodiscard]] long total(Counter counter) const {
    const auto file = CounterFile::look(root());
    if (!file) return -1;
    std::uint64_t sum = 0;
    for (const auto& row : file->rows()) sum += row.of(counter);
    return static_cast<long>(sum);
  }
  [[nodiscard]] long hits() const { return total(Counter::hits); }

 private:
  store::Root root_;
};

}  // namespace

TEST_CASE("counters: what is added is read, row by row") {
  const Place place;
  auto file = place.open();
  REQUIRE(file);
  const auto row = file->row_of("prices");
  CHECK(row != 0);
  CHECK(file->row_of("prices") == row);
  CHECK(file->row_of("") == 0);
  CHECK(file->add(row, Counter::hits, 3));
  CHECK(file->add(row, Counter::served, 1'000'000'000'000));
  CHECK(file->add(row, Timing::hit, nanoseconds(5000)));
  CHECK(file->add(0, Counter::misses, 1));
  const auto rows = CounterFile::look(place.root())->rows();
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].name.empty());
  CHECK(rows[0].of(Counter::misses) == 1);
  CHECK(rows[0].of(Counter::hits) == 0);
  CHECK(rows[1].name == "prices");
  CHECK(rows[1].of(Counter::hits) == 3);
  CHECK(rows[1].of(Counter::served) == 1'000'000'000'000);
  CHECK(rows[1].of(Timing::hit).count() == 1);
  CHECK(rows[1].of(Timing::hit).sum == 5000);
  CHECK(rows[1].of(Timing::lock_wait).count() == 0);
  CHECK(place.test.count("tmp") == 0);
}

TEST_CASE("counters: the first page is enough for a hit, and one that is none is found out") {
  const Place place;
  const auto open = [&] {
    return CounterFile::open(place.root(), 0600, CounterFile::Extent::first_page);
  };
  for (int hit = 1; hit <= 3; ++hit) {
    auto file = open();
    REQUIRE(file);
    CHECK(file->add(0, Counter::hits, 1));
    CHECK(file->add(0, Counter::saved, 1));
    CHECK(file->add(0, Timing::hit, milliseconds(400)));
    CHECK(file->is_current(place.root()) == (hit == 1));  // one in 64 looks at all of it
    CHECK(place.hits() == hit);
  }
  CHECK(CounterFile::is_in_first_page(milliseconds(400)));
  CHECK_FALSE(CounterFile::is_in_first_page(std::chrono::hours(1)));

  write_file(place.path(), std::string(CounterFile::kSize, 'x'));
  auto file = open();
  REQUIRE(file);
  CHECK(file->add(0, Counter::hits, 1));
  CHECK(place.hits() == 1);
}

TEST_CASE("counters: every counter and histogram has a place of its own") {
  const Place place;
  auto file = place.open();
  REQUIRE(file);
  const auto row = file->row_of("name");
  std::uint64_t number = 1;
  for (const auto& info : telemetry::kCounters) REQUIRE(file->add(row, info.counter, number++));
  for (const auto& info : telemetry::kTimings) {
    REQUIRE(file->add(row, info.timing, nanoseconds(0)));
    REQUIRE(file->add(row, info.timing, nanoseconds::max()));
  }
  const auto read = file->rows().at(1);
  CHECK(read.name == "name");
  number = 1;
  for (const auto& info : telemetry::kCounters) CHECK(read.of(info.counter) == number++);
  for (const auto& info : telemetry::kTimings) {
    CHECK(read.of(info.timing).count() == 2);
    CHECK(read.of(info.timing).buckets.front() == 1);
    CHECK(read.of(info.timing).buckets.back() == 1);
  }
}

TEST_CASE("counters: names that find no row count with all others, long ones are cut") {
  const Place place;
  auto file = place.open();
  REQUIRE(file);
  const std::string longest(300, 'n');
  const auto row = file->row_of(longest);
  CHECK(row != 0);
  CHECK(file->row_of(longest) == row);
  CHECK(file->row_of(longest + "x") != row);
  for (std::size_t number = 2; number + 1 < CounterFile::kRows; ++number) {
    REQUIRE(file->row_of("entry " + std::to_string(number)) != 0);
  }
  CHECK(file->row_of("one too many") == 0);
  CHECK(place.open()->row_of("one too many") == 0);
  CHECK(place.open()->row_of("entry 2") == file->row_of("entry 2"));
  const auto rows = file->rows();
  CHECK(rows.size() == CounterFile::kRows);
  CHECK(std::count_if(rows.begin(), rows.end(), [&](const auto& each) {
          return each.name == longest.substr(0, telemetry::Row::kNameKept);
        }) == 2);
}

TEST_CASE("counters: processes that begin together and add without a pause lose nothing") {
  const Place place;
  constexpr int kProcesses = 16;
  constexpr int kTimes = 1'000'000;
  std::vector<Forked> adders;
  for (int number = 0; number < kProcesses; ++number) {
    adders.emplace_back([&](const Link& link) {
      link.say("ready");
      static_cast<void>(link.hear());
      auto file = place.open();
      if (!file) return 1;
      const auto row = file->row_of("entry " + std::to_string(number % 3));
      for (int time = 0; time < kTimes; ++time) {
        if (!file->add(row, Counter::hits, 1)) return 2;
      }
      for (int time = 0; time < 1000; ++time) {
        if (!file->add(row, Timing::lock_wait, nanoseconds(5000))) return 3;
      }
      return 0;
    });
  }
  for (auto& adder : adders) CHECK(adder.hear() == "ready");
  for (auto& adder : adders) CHECK(adder.say("go"));
  for (auto& adder : adders) CHECK(adder.wait() == 0);
  CHECK(place.hits() == long{kProcesses} * kTimes);
  const auto rows = CounterFile::look(place.root())->rows();
  CHECK(rows.size() == 4);
  std::uint64_t waits = 0;
  for (const auto& row : rows) waits += row.of(Timing::lock_wait).count();
  CHECK(waits == kProcesses * 1000);
}

TEST_CASE("counters: writers that are killed at any moment leave counters that others use") {
  const Place place;
  place.count();
  for (int round = 0; round < 30; ++round) {
    Forked writer([&](const Link& link) {
      link.say("ready");
      for (int time = 0;; ++time) {
        auto file = place.open();
        if (!file) return 1;
        file->add(file->row_of("entry " + std::to_string(time % 100)), Counter::misses, 1);
      }
    });
    REQUIRE(writer.hear() == "ready");
    std::this_thread::sleep_for(milliseconds(round % 5));
    writer.kill();
  }
  place.count();
  CHECK(place.hits() == 2);
  CHECK(place.total(Counter::misses) > 0);
  auto file = place.open();
  REQUIRE(file);
  CHECK(file->row_of("entry 1") != 0);
}

TEST_CASE("counters: a claim whose maker died before it had a name gets one from the next") {
  const Place place;
  place.count();
  const auto row = place.open()->row_of("prices");
  // As it was between the two.
  const lock::Fd file(::open(place.path().c_str(), O_RDWR | O_CLOEXEC));
  const std::vector<char> nothing(8 + 31 * 8);
  const auto at = CounterFile::kHeadSize + row * CounterFile::kRowSize;
  REQUIRE(::pwrite(file.get(), nothing.data(), nothing.size(), static_cast<off_t>(at)) ==
          static_cast<ssize_t>(nothing.size()));
  CHECK(CounterFile::look(place.root())->rows().size() == 1);
  CHECK(place.open()->row_of("prices") == row);
  CHECK(CounterFile::look(place.root())->rows().back().name == "prices");
}

TEST_CASE("counters: a file that is none, or of another kind, is replaced once something counts") {
  Place place;
  const auto path = place.path();
  const auto outside = place.test.outside().file("victim");
  write_file(outside, "precious");
  place.count();
  const auto good = content_of(path);
  std::string bad = good;
  SECTION("empty") { bad.clear(); }
  SECTION("cut short by a byte") { bad.pop_back(); }
  SECTION("longer by a byte") { bad += 'x'; }
  SECTION("only its head") { bad.resize(CounterFile::kPage); }
  SECTION("foreign") { bad = std::string(good.size(), 'x'); }
  SECTION("of an earlier version") { bad[8] = 0; }
  SECTION("of another table") { bad[16] = static_cast<char>(bad[16] ^ 1); }
  SECTION("a symbolic link") {
    fs::remove(path);
    fs::create_symlink(outside, path);
    bad.clear();
  }
  SECTION("a symbolic link to a file of counters") {
    write_file(outside, good);
    fs::remove(path);
    fs::create_symlink(outside, path);
    bad.clear();
  }
  SECTION("a FIFO") {
    fs::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    bad.clear();
  }
  SECTION("a socket") {
    fs::remove(path);
    const lock::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    bad.clear();
  }
  const auto before = content_of(outside);
  if (!bad.empty() || fs::is_regular_file(fs::symlink_status(path))) write_file(path, bad);
  const bool is_good = bad == good;
  CHECK(place.hits() == (is_good ? 1 : -1));
  place.count();
  CHECK(place.hits() == (is_good ? 2 : 1));
  CHECK(fs::is_regular_file(fs::symlink_status(path)));
  CHECK(fs::file_size(path) == CounterFile::kSize);
  CHECK(content_of(outside) == before);
  CHECK(place.test.count("tmp") == 0);
}

TEST_CASE("counters: what cannot be replaced, or may not be, counts nothing and harms nobody") {
  const Place place;
  const auto path = place.path();
  place.count();
  auto later = content_of(path);
  SECTION("a later version") {
    later[8] = 9;
    write_file(path, later);
    CHECK_FALSE(place.open());
    CHECK(content_of(path) == later);
  }
  SECTION("a directory") {
    fs::remove(path);
    fs::create_directory(path);
    CHECK_FALSE(place.open());
    CHECK(fs::is_directory(path));
  }
  SECTION("somebody is at replacing it") {
    write_file(path, "x");
    Forked other([&](const Link& link) {
      lock::FileLock lock(must(place.root().open_file("counters", O_RDWR)), "counters");
      link.say(must(lock.lock({0, 0}, lock::Mode::exclusive, lock::Deadline::never())) ? "held"
                                                                                       : "not");
      static_cast<void>(link.hear());
      return 0;
    });
    REQUIRE(other.hear() == "held");
    CHECK_FALSE(place.open());
    CHECK(content_of(path) == "x");
    other.kill();
    place.count();
    CHECK(place.hits() == 1);
  }
  CHECK(place.test.count("tmp") == 0);
}

TEST_CASE("counters: many who find a bad file at once replace it once, and lose nothing") {
  const Place place;
  for (int round = 0; round < 10; ++round) {
    write_file(place.path(), "bad");
    std::vector<Forked> counters;
    for (int number = 0; number < 8; ++number) {
      counters.emplace_back([&](const Link& link) {
        link.say("ready");
        static_cast<void>(link.hear());
        // Those who come while one is at it count nothing.
        auto file = place.open();
        return file && file->add(0, Counter::hits, 1) ? 10 : 11;
      });
    }
    for (auto& each : counters) REQUIRE(each.hear() == "ready");
    for (auto& each : counters) each.say("go");
    long counted = 0;
    for (auto& each : counters) counted += each.wait() == 10 ? 1 : 0;
    CHECK(counted >= 1);
    CHECK(place.hits() == counted);
  }
}

TEST_CASE("counters: a file that was cut short or replaced is noticed before the next count") {
  const Place place;
  auto file = place.open();
  REQUIRE(file);
  REQUIRE(file->add(0, Counter::hits, 1));
  CHECK(file->is_current(place.root()));
  SECTION("cut short") { REQUIRE(::truncate(place.path().c_str(), 4096) == 0); }
  SECTION("removed") { fs::remove(place.path()); }
  SECTION("replaced") { must(CounterFile::replace(place.root(), 0600)); }
  CHECK_FALSE(file->is_current(place.root()));
  place.count();
  CHECK(place.hits() == 1);
}

TEST_CASE("counters: hits alone find out that the file has another length") {
  const auto length = GENERATE(100, 4096, 100'000, 10'000'000);
  const Place place;
  place.count();
  REQUIRE(::truncate(place.path().c_str(), length) == 0);
  for (int hit = 0; hit < 64; ++hit) {
    auto file = CounterFile::open(place.root(), 0600, CounterFile::Extent::first_page);
    REQUIRE(file);
    CHECK(file->add(0, Counter::hits, 1));
  }
  CHECK(fs::file_size(place.path()) == CounterFile::kSize);
  CHECK(place.hits() > 0);
}

TEST_CASE("counters: pages that are gone are found out, and nobody is killed") {
  const Place place;
  auto file = place.open();
  REQUIRE(file);
  const auto row = file->row_of("name");
  REQUIRE(row != 0);
  auto reader = CounterFile::look(place.root());
  REQUIRE(reader);
  // Cut short between the look at its size and the count.
  SECTION("all") { REQUIRE(::truncate(place.path().c_str(), 0) == 0); }
  SECTION("all but the head") { REQUIRE(::truncate(place.path().c_str(), 4096) == 0); }
  CHECK_FALSE(file->add(row, Counter::hits, 1));
  CHECK_FALSE(file->add(row, Timing::source, {}));
  CHECK_FALSE(file->add(0, Counter::hits, 1));
  CHECK(file->rows().empty());
  CHECK(reader->rows().empty());
  // Nothing was written where there is nothing.
  const auto size = fs::file_size(place.path());
  CHECK(size <= CounterFile::kPage);
  place.count();
  CHECK(place.hits() == 1);
}

TEST_CASE("counters: a file that may only be read is read, and counts nothing") {
  const Place place;
  place.count();
  if (::geteuid() != 0) {
    REQUIRE(::chmod(place.path().c_str(), 0400) == 0);
    CHECK_FALSE(place.open());
    CHECK(place.hits() == 1);
    return;
  }
  REQUIRE(::chmod(place.test.root().c_str(), 0755) == 0);
  REQUIRE(::chmod(place.path().c_str(), 0444) == 0);
  Forked other([&](const Link&) {
    if (::setresuid(65534, 65534, 65534) != 0) return 2;
    return !place.open() && place.hits() == 1 ? 0 : 1;
  });
  CHECK(other.wait() == 0);
  CHECK(place.hits() == 1);
}

}  // namespace cachectl::test
