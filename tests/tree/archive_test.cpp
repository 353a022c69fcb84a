#include "src/tree/archive.hpp"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/tree/fixture.hpp"
#include "tests/tree/random_tree.hpp"

namespace cachectl::test {

using tree::Manifest;
using tree::Unpacker;

namespace {

namespace fs = std::filesystem;

std::string packed(const TreePlace& place, const std::string& name) {
  std::string archive;
  expect(tree::pack(place.directory(), name, place.manifest(name),
                    [&](lock::Bytes part) -> Result<void> {
                      archive.append(reinterpret_cast<const char*>(part.data()), part.size());
                      return {};
                    }));
  return archive;
}

/// Unpacks it, in pieces of that size.
Result<Manifest> unpack(const TreePlace& place, const std::string& name, std::string_view archive,
                        std::size_t piece = 1000) {
  Unpacker unpacker(place.directory(), name);
  for (; !archive.empty(); archive.remove_prefix(std::min(piece, archive.size()))) {
    CACHECTL_TRY(unpacker.add(lock::bytes_of(archive.substr(0, piece))));
  }
  return unpacker.finish();
}

}  // namespace

TEST_CASE("archive: what comes out is what went in, in pieces of any size") {
  const TreePlace place;
  const std::size_t piece = GENERATE(1, 7, 4096, 1 << 30);
  // A large one takes too long byte by byte.
  if (piece < 4096) {
    RandomTree(place.file("tree"), 4711, RandomTree::Kind::sound).make(60);
  } else {
    make_sample(place.file("tree"));
  }
  const auto archive = packed(place, "tree");
  const auto manifest = expect(unpack(place, "copy", archive, piece));
  CHECK(place.difference("tree", "copy").empty());
  CHECK(manifest == place.manifest("copy"));
  CHECK(packed(place, "copy") == archive);
}

TEST_CASE("archive: random trees come out as they went in") {
  const TreePlace place;
  const unsigned seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  RandomTree(place.file("tree"), seed, RandomTree::Kind::sound).make(60);
  expect(unpack(place, "copy", packed(place, "tree")));
  CHECK(place.difference("tree", "copy").empty());
}

TEST_CASE("archive: a tree may be one file, also an empty one") {
  const TreePlace place;
  const std::string content = GENERATE("", "content");
  write_file(place.file("tree"), content);
  test::set_time(place.file("tree"), 77, 7);
  expect(unpack(place, "copy", packed(place, "tree")));
  CHECK(place.difference("tree", "copy").empty());
}

TEST_CASE("archive: a byte that is changed, missing or too many is found") {
  const TreePlace place;
  write_file(place.file("one"), "12345");
  fs::create_directories(place.file("tree/d"));
  write_file(place.file("tree/d/a"), "12345");
  write_file(place.file("tree/b"), "67890");
  const auto archive = packed(place, "tree");
  const auto is_refused = [&](const std::string& damaged) {
    const auto got = unpack(place, "copy", damaged);
    fs::remove_all(place.file("copy"));
    return !got && (got.error().code == Errc::corrupt || got.error().code == Errc::format);
  };
  CHECK_FALSE(is_refused(archive));
  for (std::size_t at = 0; at < archive.size(); ++at) {
    auto damaged = archive;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    CAPTURE(at);
    CHECK(is_refused(damaged));
    CHECK(is_refused(archive.substr(0, at)));
  }
  CHECK(is_refused(archive + "x"));
}

TEST_CASE("archive: nothing is written beside the tree, and nothing over what is there") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  write_file(place.file("tree/xx-outside"), "mine");
  fs::create_directories(place.file("there"));
  auto archive = packed(place, "tree");
  CHECK(unpack(place, "there", archive).error().system_error == EEXIST);
  CHECK(unpack(place, "../up", archive).error().code == Errc::usage);
  const auto at = archive.find("xx-outside");
  REQUIRE(at != std::string::npos);
  std::memcpy(archive.data() + at, "../outside", 10);
  CHECK_FALSE(unpack(place, "copy", archive));
  CHECK_FALSE(fs::exists(place.file("outside")));
}

TEST_CASE("archive: a tree that has changed is not packed as if it had not") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  write_file(place.file("tree/a"), "12345");
  const auto manifest = place.manifest("tree");
  const std::string changed = GENERATE("1234", "12346");
  write_file(place.file("tree/a"), changed);
  const auto sink = [](lock::Bytes) { return Result<void>(); };
  CHECK(tree::pack(place.directory(), "tree", manifest, sink).error().code == Errc::corrupt);
  fs::remove(place.file("tree/a"));
  fs::create_symlink("/etc/passwd", place.file("tree/a"));
  CHECK_FALSE(tree::pack(place.directory(), "tree", manifest, sink));
}

}  // namespace cachectl::test
