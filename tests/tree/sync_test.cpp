#include "src/tree/sync.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/denied_call.hpp"
#include "tests/support/forked.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

using test::expect;
using test::Forked;
using test::Link;
using test::make_sample;
using test::TreePlace;
using test::write_file;

/// What a sync says when a system call fails with EIO: "synced", or the error.
std::string with_failing(long call, const TreePlace& place, const Manifest& manifest) {
  Forked child([&](const Link& line) {
    if (!test::deny_system_call(call, EIO)) {
      line.say("skipped");
      return 0;
    }
    auto synced = sync_tree(place.directory(), "tree", manifest);
    line.say(synced ? "synced" : synced.error().message);
    return 0;
  });
  auto answer = child.hear();
  child.wait();
  return answer;
}

}  // namespace

TEST_CASE("sync: few files and directories are synced one by one, and failures told") {
  const TreePlace place;
  if (GENERATE(false, true)) {
    make_sample(place.file("tree"));
  } else {
    write_file(place.file("tree"), "one file");
  }
  const auto manifest = place.manifest("tree");
  expect(sync_tree(place.directory(), "tree", manifest));
  const auto answer = with_failing(SYS_fsync, place, manifest);
  if (answer == "skipped") return;
  CHECK_THAT(answer, Catch::Contains("/tree") && Catch::EndsWith("Input/output error"));
  CHECK(with_failing(SYS_syncfs, place, manifest) == "synced");
}

TEST_CASE("sync: many files are synced with their file system, and failures told") {
  const TreePlace place;
  make_sample(place.file("tree"));
  for (int i = 0; i < 200; ++i) write_file(place.file("tree/") + std::to_string(i), "file");
  const auto manifest = place.manifest("tree");
  expect(sync_tree(place.directory(), "tree", manifest));
  const auto answer = with_failing(SYS_syncfs, place, manifest);
  if (answer == "skipped") return;
  CHECK_THAT(answer, Catch::Contains("/tree") && Catch::EndsWith("Input/output error"));
}

TEST_CASE("sync: what its owner cannot read is synced with the file system") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  const bool directory = GENERATE(false, true);
  const auto answer = test::as_nobody([&]() -> std::string {
    std::filesystem::create_directories(place.file("tree/d"));
    write_file(place.file("tree/file"), "file");
    const auto manifest = place.manifest("tree");
    if (::chmod(place.file(directory ? "tree" : "tree/file").c_str(), 0300) != 0) return "chmod";
    auto synced = sync_tree(place.directory(), "tree", manifest);
    if (!synced) return synced.error().message;
    if (!test::deny_system_call(SYS_syncfs, EIO)) return "skipped";
    return sync_tree(place.directory(), "tree", manifest) ? "not synced" : "synced";
  });
  if (answer != "skipped") CHECK(answer == "synced");
}

TEST_CASE("sync: a file that is not there is an error") {
  const TreePlace place;
  make_sample(place.file("tree"));
  const auto manifest = place.manifest("tree");
  REQUIRE(::unlink(place.file("tree/bin-ary").c_str()) == 0);
  CHECK_THAT(sync_tree(place.directory(), "tree", manifest).error().message,
             Catch::Contains("tree/bin-ary"));
}

}  // namespace cachectl::tree
