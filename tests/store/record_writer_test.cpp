#include "src/store/record_writer.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::seen;
using test::TestCache;

namespace {

constexpr std::size_t kBlock = 128 * 1024;

RecordHeader lasting(WallTime now) {
  RecordHeader header;
  header.generation = 1;
  header.created = now;
  return header;
}

/// Hands `data` over in pieces of these sizes, in turn.
template <typename Append>
void in_pieces(std::string_view data, const std::vector<std::size_t>& sizes, Append append) {
  for (std::size_t turn = 0; !data.empty(); ++turn) {
    const auto piece = data.substr(0, sizes[turn % sizes.size()]);
    must(append(lock::bytes_of(piece)));
    data.remove_prefix(piece.size());
  }
}

struct stat status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error("stat " + path);
  return status;
}

}  // namespace

TEST_CASE("writer: a value that comes in odd pieces is read back as it was") {
  TestCache test;
  const auto root = test.open_root();
  const auto cache = test.open();
  const auto key = key_of("key");
  const auto sizes = GENERATE_COPY(
      std::vector<std::size_t>{kBlock}, std::vector<std::size_t>{kBlock - 1},
      std::vector<std::size_t>{kBlock + 1}, std::vector<std::size_t>{1, kBlock},
      std::vector<std::size_t>{kBlock, 1}, std::vector<std::size_t>{kBlock - 1, 1, kBlock},
      std::vector<std::size_t>{3 * kBlock + 7}, std::vector<std::size_t>{4093, 2 * kBlock});
  for (const std::size_t total :
       {std::size_t{1}, kBlock - 1, kBlock, kBlock + 1, 3 * kBlock, 3 * kBlock + 4097}) {
    const auto output = test::pattern(total, 1);
    const auto errors = test::pattern(total / 3 + 1, 2);
    auto writer = must(RecordWriter::create(root, key));
    in_pieces(output, sizes, [&](lock::Bytes data) { return writer.append_output(data); });
    if (total % 2 == 0) must(writer.flush());
    in_pieces(errors, sizes, [&](lock::Bytes data) { return writer.append_errors(data); });
    must(writer.publish(lasting(test.clock().now()), Place::entry, lock::Durability::none));
    auto entry = must(cache.get(key));
    INFO("total " << total << ", first piece " << sizes[0]);
    REQUIRE(entry);
    REQUIRE(must(entry->read(Stream::output)) == output);
    REQUIRE(must(entry->read(Stream::errors)) == errors);
  }
}

TEST_CASE("writer: both streams reach a descriptor of any kind") {
  TestCache test;
  const auto root = test.open_root();
  const auto key = key_of("key");
  const std::size_t size = GENERATE(std::size_t{0}, std::size_t{10}, std::size_t{65'000},
                                    std::size_t{262'144}, std::size_t{3'000'001});
  const auto output = test::pattern(size, 1);
  const auto errors = test::pattern(size + 1, 2);
  auto writer = must(RecordWriter::create(root, key));
  must(writer.append_output(lock::bytes_of(output)));
  must(writer.append_errors(lock::bytes_of(errors)));
  must(writer.publish(lasting(test.clock().now()), Place::entry, lock::Durability::none));
  auto lookup = must(find(root, key));
  REQUIRE(lookup.entry);
  must(lookup.entry->verify());

  std::FILE* file = std::tmpfile();
  must(lookup.entry->write_to(::fileno(file), Stream::output, "file"));
  must(lookup.entry->write_to(::fileno(file), Stream::errors, "file"));
  std::string read_back(output.size() + errors.size() + 1, '\0');
  std::rewind(file);
  read_back.resize(std::fread(read_back.data(), 1, read_back.size(), file));
  std::fclose(file);
  CHECK(read_back == output + errors);

  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Forked reader([&](const Link& link) {
    ::close(ends[1]);
    std::string got(errors.size() + 1, '\0');
    got.resize(must(lock::read_full(ends[0], std::as_writable_bytes(std::span(got)), "pipe")));
    link.say(got == errors ? "same" : "different");
    return 0;
  });
  ::close(ends[0]);
  must(lookup.entry->write_to(ends[1], Stream::errors, "pipe"));
  ::close(ends[1]);
  CHECK(reader.hear() == "same");
}

TEST_CASE("writer: the file has its mode, and its time is the expiry") {
  TestCache test(GENERATE(Sharing::owner_only, Sharing::group));
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "value", std::chrono::nanoseconds(90'000'000'001));
  const auto status = status_of(test.record(key));
  const auto expires = test.clock().now() + std::chrono::nanoseconds(90'000'000'001);
  const auto since = expires.time_since_epoch();
  CHECK(status.st_mtim.tv_sec == std::chrono::floor<std::chrono::seconds>(since).count());
  CHECK(status.st_mtim.tv_nsec == (since % std::chrono::seconds(1)).count());
  CHECK((status.st_mode & 07777U) == test.open_root().file_mode());
  put(cache, key, "value");
  CHECK(status_of(test.record(key)).st_mtim.tv_sec >
        SystemClock().now().time_since_epoch() / std::chrono::seconds(1) + 86'400);
}

TEST_CASE("writer: one that is dropped leaves nothing, and the old value") {
  TestCache test;
  const auto root = test.open_root();
  const auto cache = test.open();
  put(cache, key_of("key"), "old");
  {
    auto writer = must(RecordWriter::create(root, key_of("key")));
    must(writer.append_output(lock::bytes_of("new")));
    must(writer.flush());
    CHECK(test.count("tmp") == 1);
  }
  CHECK(test.count("tmp") == 0);
  CHECK(seen(cache, key_of("key")) == "value: old");
}

TEST_CASE("publish: a file that may not grow is an error, and the old value stays") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "old");
  const std::size_t size = GENERATE(std::size_t{20'000}, std::size_t{500'000});
  Forked child([&](const Link& link) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{8192, 8192};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const auto set = cache.set(key_of("key"), lock::bytes_of(test::pattern(size)), {});
    link.say(set ? "stored" : set.error().describe());
    return 0;
  });
  CHECK_THAT(child.hear(), Catch::Contains("File too large"));
  child.wait();
  CHECK(seen(cache, key_of("key")) == "value: old");
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("publish: a rename that fails leaves the old value and no staged file") {
  TestCache test;
  const auto cache = test.open();
  const auto key = key_of("key");
  put(cache, key, "old");
  const auto record = test.record(key);
  const auto aside = test.outside().file("record");
  fs::rename(record, aside);
  fs::create_directories(record + "/in the way");
  const auto set = cache.set(key, lock::bytes_of("new"), {});
  REQUIRE_FALSE(set);
  CHECK_THAT(set.error().describe(), Catch::Contains("rename"));
  CHECK(test.count("tmp") == 0);
  fs::remove_all(record);
  fs::rename(aside, record);
  CHECK(seen(cache, key) == "value: old");
}

}  // namespace cachectl::store
