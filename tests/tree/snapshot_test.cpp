#include "src/tree/snapshot.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "src/tree/update.hpp"
#include "tests/support/forked.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

namespace fs = std::filesystem;
using test::expect;
using test::TreePlace;
using test::write_file;

/// Whether whatever is changed from now on gets another ctime than each of the stamps.
bool is_past(const Snapshot& snapshot) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::all_of(snapshot.stamps.begin(), snapshot.stamps.end(),
                     [&](const Stamp& stamp) { return stamp.changed < FileTime::of(now); });
}

}  // namespace

TEST_CASE("snapshot: the tick of the clock in which it was taken has passed when it is there") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  for (int i = 0; i < 30; ++i) {
    write_file(place.file("tree/x"), std::to_string(i));
    CHECK(is_past(expect(take_snapshot(place.directory(), "tree"))));
  }
}

TEST_CASE("snapshot: that of an update as well") {
  const TreePlace place;
  fs::create_directories(place.file("from"));
  write_file(place.file("from/x"), "0");
  Filled filled{place.manifest("from"), {}};
  expect(copy_tree(place.directory(), "from", filled.manifest, place.directory(), "tree"));
  filled.snapshot = expect(take_snapshot(place.directory(), "tree"));
  for (int i = 1; i < 30; ++i) {
    write_file(place.file("from/x"), std::to_string(i));
    const auto manifest = place.manifest("from");
    auto updated = expect(update_tree(place.directory(), "tree", filled, place.directory(), "from",
                                      manifest, CopyOptions{}));
    CHECK(is_past(updated.snapshot));
    filled = {manifest, std::move(updated.snapshot)};
  }
}

TEST_CASE("snapshot: a change right after it, with size and time as before, is seen") {
  // Where the kernel notes changes by the tick only: ext4, XFS, btrfs and tmpfs of Linux 6.13
  // give a file that somebody has looked at a finer time.
  test::Forked child([](const test::Link& link) {
    const TreePlace place;
    fs::create_directories(place.file("mounted"));
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("ramfs", place.file("mounted").c_str(), "ramfs", 0, nullptr) != 0) {
      link.say("not mounted");
      return 0;
    }
    const auto mounted = expect(lock::Directory::open(place.file("mounted")));
    const auto file = place.file("mounted/tree/x");
    fs::create_directories(place.file("mounted/tree"));
    int missed = 0;
    for (int i = 0; i < 100; ++i) {
      write_file(file, "before");
      const auto snapshot = expect(take_snapshot(mounted, "tree"));
      struct stat status {};
      if (::stat(file.c_str(), &status) != 0) return 1;
      write_file(file, "behind");
      test::set_time(file, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
      if (expect(changed_since(mounted, "tree", snapshot)).empty()) ++missed;
    }
    ::umount(place.file("mounted").c_str());
    link.say("missed " + std::to_string(missed));
    return 0;
  });
  const auto answer = child.hear();
  CHECK(child.wait() == 0);
  if (answer == "not mounted") {
    WARN("SKIPPED: no ramfs can be mounted here");
    return;
  }
  CHECK(answer == "missed 0");
}

}  // namespace cachectl::tree
