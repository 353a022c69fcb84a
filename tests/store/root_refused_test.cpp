// Roots that are not safe, and links planted in safe ones: refused, and nothing is
// written anywhere.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "tests/store/fixture.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using test::content_of;
using test::key_of;
using test::must;
using test::put;
using test::seen;
using test::TestCache;
using test::write_file;

namespace {

/// Errors of both ways to open, which have to agree.
Error refusal(const std::string& path, Sharing sharing = Sharing::owner_only) {
  auto reading = Root::open(path, sharing);
  auto writing = Root::open_or_create(path, sharing);
  if (reading || writing) throw std::runtime_error("not refused");
  if (reading.error().describe() != writing.error().describe()) {
    throw std::runtime_error("refused differently: " + reading.error().describe() + " and " +
                             writing.error().describe());
  }
  return writing.error();
}

std::set<std::string> names_below(const std::string& path) {
  std::set<std::string> names;
  for (const auto& item : fs::recursive_directory_iterator(path)) names.insert(item.path());
  return names;
}

}  // namespace

TEST_CASE("root: one that others may write to is refused, empty or in use") {
  TestCache test;
  fs::create_directory(test.root());
  if (GENERATE(false, true)) put(test.open(), key_of("key"), "value");
  for (const unsigned mode : {0777U, 0702U, 01777U, 0770U, 0720U}) {
    REQUIRE(::chmod(test.root().c_str(), mode) == 0);
    const auto before = names_below(test.root());
    const auto error = refusal(test.root());
    INFO(error.describe());
    CHECK(error.code == Errc::refused);
    CHECK_THAT(error.describe(), Catch::Contains(test.root()) && Catch::Contains("chmod"));
    CHECK(names_below(test.root()) == before);
  }
}

TEST_CASE("root: a shared one may be written by its group, not by everybody") {
  TestCache test(Sharing::group);
  put(test.open(), key_of("key"), "value");
  CHECK(must(Root::open(test.root(), Sharing::group)).has_value());
  REQUIRE(::chmod(test.root().c_str(), 02777) == 0);
  CHECK(refusal(test.root(), Sharing::group).code == Errc::refused);
}

TEST_CASE("root: one of another user is refused, empty or in use") {
  if (::geteuid() != 0) {
    WARN("NOT TESTED: giving a directory to another user takes root");
    return;
  }
  TestCache test;
  fs::create_directory(test.root());
  if (GENERATE(false, true)) put(test.open(), key_of("key"), "value");
  REQUIRE(::chown(test.root().c_str(), 12345, 12345) == 0);
  const auto before = names_below(test.root());
  const auto error = refusal(test.root());
  CHECK(error.code == Errc::refused);
  CHECK_THAT(error.describe(), Catch::Contains("uid 12345"));
  CHECK(names_below(test.root()) == before);
}

TEST_CASE("root: a link is refused, also with a slash behind it") {
  TestCache test;
  const auto target = test.outside().file("target");
  fs::create_directory(target);
  fs::permissions(target, fs::perms::owner_all);
  fs::create_directory_symlink(target, test.root());
  for (const auto* slash : {"", "/", "//", "/."}) {
    const auto error = refusal(test.root() + slash);
    CHECK(error.code == Errc::refused);
    CHECK_THAT(error.describe(), Catch::Contains("symbolic link"));
  }
  CHECK(fs::is_empty(target));
}

TEST_CASE("root: a link that dangles is refused and not followed") {
  TestCache test;
  fs::create_symlink(test.outside().file("none"), test.root());
  const auto root = Root::open_or_create(test.root(), Sharing::owner_only);
  REQUIRE_FALSE(root);
  CHECK(root.error().code == Errc::refused);
  CHECK_FALSE(fs::exists(test.outside().file("none")));
}

TEST_CASE("root: a file is an error that names it") {
  TestCache test;
  write_file(test.root(), "a file");
  const auto root = Root::open_or_create(test.root(), Sharing::owner_only);
  REQUIRE_FALSE(root);
  CHECK_THAT(root.error().describe(), Catch::Contains(test.root()));
  CHECK(content_of(test.root()) == "a file");
}

TEST_CASE("root: a directory of something else is refused and left as it is") {
  TestCache test;
  fs::create_directory(test.root());
  fs::permissions(test.root(), fs::perms(0755));
  write_file(test.file("notes.txt"), "mine");
  if (GENERATE(false, true)) fs::create_directory(test.file("tmp"));
  const auto before = names_below(test.root());
  const auto error = refusal(test.root());
  CHECK(error.code == Errc::refused);
  CHECK_THAT(error.describe(), Catch::Contains("not a cache"));
  CHECK(names_below(test.root()) == before);
  CHECK((fs::status(test.root()).permissions() & fs::perms::mask) == fs::perms(0755));
}

TEST_CASE("root: an unknown format is an error that names it, and nothing changes") {
  TestCache test;
  put(test.open(), key_of("key"), "value");
  const auto* format =
      GENERATE("cachectl 2\n", "", "cachectl 1", "cachectl 1\nmore\n", "ccache\x1b");
  write_file(test.file("format"), format);
  const auto before = names_below(test.root());
  const auto error = refusal(test.root());
  CHECK(error.code == Errc::format);
  CHECK_THAT(error.describe(), Catch::Contains("cachectl 1"));
  CHECK_THAT(error.describe(), !Catch::Contains("\x1b"));
  CHECK(content_of(test.file("format")) == format);
  CHECK(names_below(test.root()) == before);
}

TEST_CASE("root: a format that is a link or a FIFO does not stop or mislead us") {
  TestCache test;
  put(test.open(), key_of("key"), "value");
  fs::rename(test.file("format"), test.outside().file("format"));
  SECTION("a link") { fs::create_symlink("../format", test.file("format")); }
  SECTION("a FIFO") { REQUIRE(::mkfifo(test.file("format").c_str(), 0600) == 0); }
  const auto error = refusal(test.root());
  CHECK((error.code == Errc::refused || error.code == Errc::format));
}

TEST_CASE("planted links in a root are refused, and nothing is written or removed outside") {
  TestCache test;
  const auto key = key_of("key");
  const auto cache = test.open();
  put(cache, key, "value");
  put(cache, key_of("expired"), "value", std::chrono::seconds(1));
  const auto record = fs::path(test.record(key));
  const auto shard = record.parent_path().filename().string();
  const auto name = GENERATE_COPY(std::string("tmp"), std::string("entries"),
                                  std::string("entries/") + shard, std::string("attempts"));
  const auto target = test.outside().file("target");
  const auto planted = test.file(name);
  fs::rename(planted, target);
  fs::create_directory_symlink(target, planted);
  write_file(target + "/precious", "precious");
  test.clock().advance(std::chrono::hours(1));
  const auto before = names_below(target);

  INFO(name);
  // Behind the link lies the very record; it must not be read through it.
  const bool read_through = name.starts_with("entries");
  CHECK(seen(cache, key) == (read_through ? "miss" : "value: value"));
  const auto set = cache.set(key, lock::bytes_of("second"), {});
  const bool written_to = name != "attempts";
  CHECK(set.has_value() != written_to);
  if (!set) {
    CHECK(set.error().code == Errc::refused);
    CHECK_THAT(set.error().describe(), Catch::Contains("symbolic link"));
  }
  refresh::RunPolicy policy;
  policy.force = true;
  const auto run = cache.run(key_of("another"), {{"false"}, {}}, policy, {});
  const bool stored = run && !run->not_stored;
  CHECK_FALSE((stored && (name == "tmp" || name == "attempts")));
  [[maybe_unused]] const auto collected = cache.collect({});
  [[maybe_unused]] const auto removed = cache.remove_if([](auto) { return true; }, {});
  CHECK(names_below(target) == before);
  CHECK(content_of(target + "/precious") == "precious");
}

TEST_CASE("planted cache.lock: a link is refused, and its target is not written") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "value");
  fs::remove(test.file("cache.lock"));
  const auto target = test.outside().file("target");
  write_file(target, "precious");
  fs::create_symlink(target, test.file("cache.lock"));
  const auto set = cache.set(key_of("key"), lock::bytes_of("second"), {});
  REQUIRE_FALSE(set);
  CHECK(set.error().code == Errc::refused);
  CHECK(content_of(target) == "precious");
  CHECK(seen(cache, key_of("key")) == "value: value");
}

}  // namespace cachectl::store
