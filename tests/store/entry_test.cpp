#include "src/store/entry.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

#include "tests/store/fixture.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using test::content_of;
using test::key_of;
using test::must;
using test::put;
using test::seen;
using test::TestCache;
using test::value_of;
using test::write_file;

namespace {

/// Changes bytes of a file in place and puts them back.
class Damage {
 public:
  explicit Damage(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (!file_.valid()) throw std::runtime_error("open " + path);
  }
  void turn(std::size_t offset, unsigned char mask) const {
    unsigned char byte = 0;
    const auto at = static_cast<off_t>(offset);
    if (::pread(file_.get(), &byte, 1, at) != 1) throw std::runtime_error("read");
    byte ^= mask;
    if (::pwrite(file_.get(), &byte, 1, at) != 1) throw std::runtime_error("write");
  }
  void resize(std::size_t size) const {
    if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) {
      throw std::runtime_error("truncate");
    }
  }

 private:
  lock::Fd file_;
};

/// All offsets of a small record; of a large one those near a border, and a sample.
std::vector<std::size_t> offsets(std::size_t size) {
  constexpr std::size_t kFirstRead = 64 * 1024;
  std::vector<std::size_t> all;
  const auto near = [](std::size_t at, std::size_t border) {
    return at + 64 > border && at < border + 64;
  };
  for (std::size_t at = 0; at < size; ++at) {
    if (at < 512 || near(at, kFirstRead) || near(at, size) || at % 61 == 0) all.push_back(at);
  }
  return all;
}

}  // namespace

TEST_CASE("entry: a record with any byte changed is a miss with a warning") {
  const std::size_t size = GENERATE(std::size_t{0}, std::size_t{100}, std::size_t{70'000});
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("the key");
  const auto value = test::pattern(size);
  put(cache, key, value);
  const Damage damage(test.record(key));
  for (const auto offset : offsets(fs::file_size(test.record(key)))) {
    for (const unsigned char mask : {std::uint8_t{0xFF}, std::uint8_t{0x01}, std::uint8_t{0x80}}) {
      damage.turn(offset, mask);
      INFO("byte " << offset << ", mask " << int(mask));
      REQUIRE(seen(cache, key) == "miss");
      REQUIRE(test.take_warnings().size() == 1);
      damage.turn(offset, mask);
    }
  }
  CHECK(value_of(cache, key) == value);
  CHECK(test.take_warnings().empty());
}

TEST_CASE("entry: a record cut off at any length is a miss with a warning") {
  const std::size_t size = GENERATE(std::size_t{100}, std::size_t{70'000});
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("the key");
  put(cache, key, test::pattern(size));
  const auto whole = content_of(test.record(key));
  auto lengths = offsets(whole.size());
  // The longest first: only cutting is needed.
  const Damage damage(test.record(key));
  for (auto length = lengths.rbegin(); length != lengths.rend(); ++length) {
    damage.resize(*length);
    INFO("length " << *length);
    REQUIRE(seen(cache, key) == "miss");
    REQUIRE(test.take_warnings().size() == 1);
  }
  write_file(test.record(key), whole);
  CHECK(value_of(cache, key) == test::pattern(size));
}

TEST_CASE("entry: zeros in place of a tail, as a crash leaves them, are a miss") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("the key");
  put(cache, key, test::pattern(70'000));
  const auto whole = fs::file_size(test.record(key));
  const Damage damage(test.record(key));
  for (const std::size_t kept : {0U, 1U, 127U, 128U, 4096U, 65'536U, 69'000U}) {
    damage.resize(kept);
    damage.resize(whole);
    INFO("kept " << kept);
    REQUIRE(seen(cache, key) == "miss");
  }
}

TEST_CASE("entry: a record that has grown is a miss") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("the key");
  const std::size_t size = GENERATE(std::size_t{100}, std::size_t{70'000});
  put(cache, key, test::pattern(size));
  const auto whole = content_of(test.record(key));
  write_file(test.record(key), whole + std::string(1, '\0'));
  CHECK(seen(cache, key) == "miss");
  write_file(test.record(key), whole + whole);
  CHECK(seen(cache, key) == "miss");
  CHECK(test.take_warnings().size() == 2);
}

TEST_CASE("entry: the record of another key under this key's name is a miss") {
  TestCache test;
  const auto cache = test.open();
  const auto mine = key_of("mine");
  const auto other = key_of("yours");
  put(cache, mine, "my value");
  put(cache, other, "your value");
  fs::copy_file(test.record(other), test.record(mine), fs::copy_options::overwrite_existing);
  CHECK(seen(cache, mine) == "miss");
  CHECK_THAT(test.take_warnings().at(0), Catch::Contains("another key"));
  put(cache, mine, "new");
  CHECK(value_of(cache, mine) == "new");
  CHECK(value_of(cache, other) == "your value");
}

TEST_CASE("entry: an open entry keeps its value while its name is replaced or removed") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  const auto value = test::pattern(300'000);
  put(cache, key, value);
  auto entry = must(cache.get(key));
  REQUIRE(entry);
  put(cache, key, "next");
  must(cache.remove(key, {}));
  CHECK(must(entry->read(Stream::output)) == value);
  CHECK(seen(cache, key) == "miss");
}

TEST_CASE("foreign files under a record's name: each is a miss, and set replaces it") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "first");
  const auto path = test.record(key);
  fs::remove(path);
  const auto outside = test.outside().file("precious");
  write_file(outside, "precious");

  SECTION("an empty file") { write_file(path, ""); }
  SECTION("a text") { write_file(path, "this is no record at all\n"); }
  SECTION("a FIFO") { REQUIRE(::mkfifo(path.c_str(), 0600) == 0); }
  SECTION("a link to a file outside") { fs::create_symlink(outside, path); }
  SECTION("a link that dangles") { fs::create_symlink(test.outside().file("none"), path); }
  SECTION("a link to itself") { fs::create_symlink(path, path); }
  SECTION("a socket") {
    // A socket's address is short: make it elsewhere and move it.
    const lock::Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto place = test.outside().file("s");
    REQUIRE(place.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, place.c_str(), place.size());
    REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    fs::rename(place, path);
  }

  CHECK(seen(cache, key) == "miss");
  CHECK(test.take_warnings().size() == 1);
  CHECK(must(cache.collect({})).problems.empty());
  put(cache, key, "second");
  CHECK(value_of(cache, key) == "second");
  CHECK(fs::is_regular_file(fs::symlink_status(path)));
  CHECK(content_of(outside) == "precious");
  CHECK_FALSE(fs::exists(test.outside().file("none")));
}

TEST_CASE("foreign files under a record's name: a directory is a miss, and set says so") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "first");
  const auto path = test.record(key);
  fs::remove(path);
  fs::create_directory(path);
  write_file(path + "/inside", "kept");
  CHECK(seen(cache, key) == "miss");
  CHECK(test.take_warnings().size() == 1);
  const auto set = cache.set(key, lock::bytes_of("second"), {});
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().describe(), Catch::Contains(path) && Catch::Contains("directory"));
  CHECK(content_of(path + "/inside") == "kept");
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("foreign files in place of a directory of records: a miss, and set says so") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "first");
  const auto directory = fs::path(test.record(key)).parent_path();
  fs::remove_all(directory);
  write_file(directory, "a file");
  CHECK(seen(cache, key) == "miss");
  CHECK(test.take_warnings().size() == 1);
  const auto set = cache.set(key, lock::bytes_of("second"), {});
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().describe(), Catch::Contains(directory.string()));
  CHECK(content_of(directory) == "a file");
}

}  // namespace cachectl::store
