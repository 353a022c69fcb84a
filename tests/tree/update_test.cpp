#include "src/tree/update.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string_view>

#include "src/tree/remove.hpp"
#include "tests/tree/fixture.hpp"
#include "tests/tree/random_tree.hpp"

namespace cachectl::tree {

namespace {

namespace fs = std::filesystem;
using test::as_nobody;
using test::content_of;
using test::expect;
using test::make_sample;
using test::RandomTree;
using test::TreePlace;
using test::write_file;

CopyOptions by(std::vector<Method> methods) {
  CopyOptions options;
  options.methods = std::move(methods);
  return options;
}

/// A replica, filled with the tree "one".
struct Replica {
  explicit Replica(const TreePlace& in, const CopyOptions& with = {}) : place(in), options(with) {
    fill("one");
  }

  void fill(const std::string& from) {
    was.manifest = expect(scan(place.directory(), from)).manifest;
    expect(copy_tree(place.directory(), from, was.manifest, place.directory(), "replica", options));
    was.snapshot = expect(take_snapshot(place.directory(), "replica"));
  }
  Updated update(const std::string& to) {
    auto now = expect(scan(place.directory(), to)).manifest;
    auto updated =
        expect(update_tree(place.directory(), "replica", was, place.directory(), to, now, options));
    was = {std::move(now), updated.snapshot};
    return updated;
  }
  /// What is not as a fresh copy is, or as the snapshot says; empty: nothing.
  [[nodiscard]] std::string faults(const std::string& to) const {
    // Not with hard links: another name changes the ctime of what the replica shares.
    expect(copy_tree(place.directory(), to, was.manifest, place.directory(), "fresh",
                     by({Method::copy})));
    const auto is = expect(scan(place.directory(), "replica"));
    auto text = test::difference(place.manifest("fresh"), is.manifest);
    if (is.snapshot != was.snapshot) text += "the snapshot is another";
    expect(remove_tree(place.directory(), "fresh"));
    return text;
  }

  const TreePlace& place;
  CopyOptions options;
  Filled was;
};

ino_t inode_of(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

/// How many trees are played with; all with CACHECTL_SWEEP=full in the environment.
unsigned plays() {
  const char* extent = ::getenv("CACHECTL_SWEEP");
  return extent != nullptr && std::string_view(extent) == "full" ? 200 : 24;
}

/// "" or what went wrong, with the seed.
std::string play(unsigned seed, const CopyOptions& options) {
  const TreePlace place;
  RandomTree source(place.file("one"), seed, RandomTree::Kind::sound);
  source.make(40);
  Replica replica(place, options);
  RandomTree user(place.file("replica"), seed + 1, RandomTree::Kind::any);
  for (unsigned round = 0; round < 3; ++round) {
    if (seed % 3 != 0) user.change(seed % 12);
    // The next generation lies at another place.
    const auto next = "next" + std::to_string(round);
    const auto last = round == 0 ? "one" : "next" + std::to_string(round - 1);
    CopyOptions plain;
    plain.methods = {Method::copy};
    expect(copy_tree(place.directory(), last, place.directory(), next, plain));
    RandomTree(place.file(next), seed + 100 + round, RandomTree::Kind::sound).change(seed % 9);
    replica.update(next);
    const auto faults = replica.faults(next);
    if (!faults.empty()) return "seed " + std::to_string(seed) + ": " + faults;
  }
  return {};
}

}  // namespace

TEST_CASE("update: whatever source and user have changed, it ends as a fresh copy") {
  const auto options = GENERATE(by({Method::reflink, Method::copy}), by({Method::copy}));
  for (unsigned seed = 0; seed < plays(); ++seed) REQUIRE(play(seed, options).empty());
}

TEST_CASE("update: the same for a user without rights to all that he has made") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  CHECK(as_nobody([] {
          try {
            for (unsigned seed = 1000; seed < 1000 + plays(); ++seed) {
              if (auto faults = play(seed, {}); !faults.empty()) return faults;
            }
          } catch (const std::exception& error) {
            return std::string(error.what());
          }
          return std::string("as it should be");
        }) == "as it should be");
}

TEST_CASE("update: costs what has changed, and nothing else is touched") {
  const TreePlace place;
  make_sample(place.file("one"));
  Replica replica(place);
  make_sample(place.file("two"));
  // All that was made just now has another time, which is not another content.
  const auto large = inode_of(place.file("replica/bin/deep/deeper/file"));
  const auto retimed = replica.update("two");
  CHECK(retimed.files == 0);
  CHECK(retimed.changed == 0);
  CHECK(inode_of(place.file("replica/bin/deep/deeper/file")) == large);
  CHECK(replica.faults("two").empty());

  const auto nothing = replica.update("two");
  CHECK(nothing.files == 0);
  CHECK(nothing.changed == 0);
  CHECK(nothing.removed == 0);

  make_sample(place.file("three"));
  write_file(place.file("three/bin-ary"), "new");
  fs::remove(place.file("three/bin/deep/deeper/file"));
  write_file(place.file("replica/user"), "user");
  const auto updated = replica.update("three");
  CHECK(updated.files == 1);
  CHECK(updated.bytes == 3);
  CHECK(updated.removed == 2);
  CHECK(updated.changed == 2);  // the file, and the directory it is in
  CHECK(replica.faults("three").empty());
}

TEST_CASE("update: a change by the user of the same size with the time put back is undone") {
  const TreePlace place;
  make_sample(place.file("one"));
  Replica replica(place);
  const auto path = place.file("replica/bin-ary");
  const auto time = replica.was.manifest.find("bin-ary")->modified;
  auto content = content_of(path);
  content[3] = '!';
  write_file(path, content);
  test::set_time(path, time.seconds, time.nanoseconds);
  const auto updated = replica.update("one");
  CHECK(updated.changed == 1);
  CHECK(updated.files == 1);
  CHECK(replica.faults("one").empty());
}

TEST_CASE("update: links that the user has put in place of directories are not followed") {
  const TreePlace place;
  make_sample(place.file("one"));
  Replica replica(place);
  fs::create_directories(place.file("outside/deeper"));
  write_file(place.file("outside/deeper/file"), "outside");
  write_file(place.file("outside/kept"), "outside");
  const auto before = expect(scan(place.directory(), "outside"));
  fs::remove_all(place.file("replica/bin/deep"));
  fs::create_directory_symlink(place.file("outside"), place.file("replica/bin/deep"));
  replica.update("one");
  CHECK(replica.faults("one").empty());
  CHECK(expect(scan(place.directory(), "outside")).snapshot == before.snapshot);
}

TEST_CASE("update: a replica of hard links changes and loses none of the originals") {
  const TreePlace place;
  make_sample(place.file("one"));
  Replica replica(place, by({Method::hard_link}));
  const auto one = place.manifest("one");
  // The same contents with other modes and times.
  make_sample(place.file("two"));
  REQUIRE(::chmod(place.file("two/-rf").c_str(), 0640) == 0);
  replica.update("two");
  CHECK(replica.faults("two").empty());
  CHECK(test::difference(place.manifest("one"), one).empty());
}

TEST_CASE("update: a tree may become a file, and a file a tree or nothing") {
  const TreePlace place;
  write_file(place.file("one"), "content");
  Replica replica(place);
  CHECK(replica.update("one").files == 0);
  write_file(place.file("replica"), "CONTENT");
  CHECK(replica.update("one").files == 1);
  CHECK(replica.faults("one").empty());
  make_sample(place.file("two"));
  replica.update("two");
  CHECK(replica.faults("two").empty());
  replica.update("one");
  CHECK(replica.faults("one").empty());
  fs::remove(place.file("replica"));
  replica.update("one");
  CHECK(replica.faults("one").empty());
}

TEST_CASE("update: one that was interrupted is completed by the next, with the same snapshot") {
  const TreePlace place;
  make_sample(place.file("one"));
  Replica replica(place);
  make_sample(place.file("two"));
  write_file(place.file("two/bin-ary"), "new");
  write_file(place.file("two/new"), "new");
  const auto now = expect(scan(place.directory(), "two")).manifest;
  // A file that is not there any more stops it half way.
  fs::remove(place.file("two/new"));
  CHECK_FALSE(
      update_tree(place.directory(), "replica", replica.was, place.directory(), "two", now));
  write_file(place.file("two/new"), "new");
  replica.update("two");
  CHECK(replica.faults("two").empty());
}

}  // namespace cachectl::tree
