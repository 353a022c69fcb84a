#include "src/tree/remove.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/denied_call.hpp"
#include "tests/support/forked.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

namespace fs = std::filesystem;
using test::as_nobody;
using test::expect;
using test::Forked;
using test::Link;
using test::make_sample;
using test::TreePlace;
using test::write_file;

std::string tell(const Result<Removed>& removed) {
  return removed ? "removed " + std::to_string(removed->items) : removed.error().message;
}

}  // namespace

TEST_CASE("remove: a tree is gone, and what its links point to is not") {
  const TreePlace place;
  make_sample(place.file("tree"));
  fs::create_directories(place.file("outside/d"));
  write_file(place.file("outside/file"), "outside");
  fs::create_directory_symlink(place.file("outside"), place.file("tree/to-directory"));
  fs::create_symlink(place.file("outside/file"), place.file("tree/to-file"));
  CHECK(expect(remove_tree(place.directory(), "tree")).items == 22);
  CHECK_FALSE(fs::exists(place.file("tree")));
  CHECK(fs::exists(place.file("outside/file")));
  CHECK(fs::exists(place.file("outside/d")));
}

TEST_CASE("remove: whatever has the name is removed, and nothing is no error") {
  const TreePlace place;
  write_file(place.file("file"), "");
  fs::create_directories(place.file("outside/d"));
  fs::create_directory_symlink("outside", place.file("link"));
  REQUIRE(::mkfifo(place.file("fifo").c_str(), 0) == 0);
  for (const auto* name : {"file", "link", "fifo"}) {
    CHECK(tell(remove_tree(place.directory(), name)) == "removed 1");
    CHECK(tell(remove_tree(place.directory(), name)) == "removed 0");
  }
  CHECK(fs::exists(place.file("outside/d")));
  for (const auto* name : {"", ".", "..", "outside/d"}) {
    CHECK(remove_tree(place.directory(), name).error().code == Errc::usage);
  }
}

TEST_CASE("remove: directories that their owner cannot read, write or enter are removed") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  const mode_t mode = GENERATE(0000U, 0111U, 0444U, 0555U, 0300U);
  const auto answer = as_nobody([&] {
    fs::create_directories(place.file("tree/a/b"));
    write_file(place.file("tree/a/b/file"), "");
    write_file(place.file("tree/a/file"), "");
    write_file(place.file("tree/file"), "");
    for (const auto* name : {"tree/a/b", "tree/a", "tree"}) {
      if (::chmod(place.file(name).c_str(), mode) != 0) return std::string("chmod failed");
    }
    return tell(remove_tree(place.directory(), "tree"));
  });
  CHECK(answer == "removed 6");
  CHECK_FALSE(fs::exists(place.file("tree")));
}

TEST_CASE("remove: what is another user's is an error with its name") {
  const TreePlace place;
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  fs::create_directories(place.file("tree/d"));
  write_file(place.file("tree/d/file"), "");
  const auto answer = as_nobody([&] { return tell(remove_tree(place.directory(), "tree")); });
  CHECK_THAT(answer, Catch::Contains("tree/d/file: Permission denied"));
  CHECK(fs::exists(place.file("tree/d/file")));
}

TEST_CASE("remove: any number of levels needs few descriptors and little stack") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  lock::Fd at(::open(place.file("tree").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  constexpr int kLevels = 20'000;
  for (int i = 0; i < kLevels; ++i) {
    REQUIRE(::mkdirat(at.get(), "d", 0700) == 0);
    if (i % 100 == 0) REQUIRE(::mkdirat(at.get(), "e", 0700) == 0);
    at = lock::Fd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  at.reset();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{std::min<rlim_t>(before.rlim_cur, 100), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const auto removed = remove_tree(place.directory(), "tree");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(tell(removed) == "removed " + std::to_string(kLevels + kLevels / 100 + 1));
  CHECK_FALSE(fs::exists(place.file("tree")));
}

TEST_CASE("remove: deep levels that their owner cannot write to are removed") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  const auto answer = as_nobody([&] {
    std::string path = place.file("tree");
    for (int i = 0; i < 100; ++i) {
      fs::create_directory(path);
      path += "/d";
    }
    while (path != place.file("tree")) {
      path.resize(path.size() - 2);
      if (::chmod(path.c_str(), 0500) != 0) return std::string("chmod failed");
    }
    return tell(remove_tree(place.directory(), "tree"));
  });
  CHECK(answer == "removed 100");
}

TEST_CASE("remove: another file system that is mounted in the tree is refused by name") {
  const TreePlace place;
  fs::create_directories(place.file("tree/d/mounted"));
  fs::create_directories(place.file("outside/kept"));
  const bool bind = GENERATE(false, true);
  const bool has_openat2 = GENERATE(true, false);
  if (bind && !has_openat2) return;  // then only the device tells
  Forked child([&](const Link& line) {
    const auto target = place.file("tree/d/mounted");
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(bind ? place.file("outside").c_str() : "none", target.c_str(), "tmpfs",
                bind ? MS_BIND : 0, nullptr) != 0) {
      line.say("skipped");
      return 0;
    }
    if (!bind) fs::create_directory(target + "/kept");
    if (!has_openat2 && !test::deny_system_call(SYS_openat2, ENOSYS)) {
      line.say("skipped");
      return 0;
    }
    // Opened here: a descriptor from before sees the mounts of before.
    const auto parent = expect(lock::Directory::open(place.directory().path()));
    auto removed = remove_tree(parent, "tree");
    const bool refused = !removed && removed.error().code == Errc::refused;
    line.say(tell(removed) + (refused ? " refused" : " not refused") +
             (fs::exists(target + "/kept") ? " kept" : " lost"));
    return 0;
  });
  const auto answer = child.hear();
  child.wait();
  if (answer == "skipped") {
    WARN("skipped: no right to mount, or no seccomp");
    return;
  }
  CHECK_THAT(answer,
             Catch::EndsWith("tree/d/mounted: another file system is mounted there refused kept"));
}

TEST_CASE("remove: a directory that becomes a link meanwhile leads nowhere") {
  const TreePlace place;
  fs::create_directories(place.file("outside"));
  for (int i = 0; i < 50; ++i) write_file(place.file("outside/") + std::to_string(i), "outside");
  int removed = 0;
  for (int round = 0; round < 100; ++round) {
    fs::create_directories(place.file("tree/a/victim/deeper"));
    for (int i = 0; i < 20; ++i) {
      write_file(place.file("tree/a/victim/") + std::to_string(i), "inside");
    }
    fs::create_directory_symlink(place.file("outside"), place.file("tree/link"));
    std::atomic<bool> stop = false;
    std::thread attacker([&] {
      const auto victim = place.file("tree/a/victim");
      const auto link = place.file("tree/link");
      while (!stop) {
        ::renameat2(AT_FDCWD, victim.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE);
      }
    });
    const auto result = remove_tree(place.directory(), "tree");
    stop = true;
    attacker.join();
    removed += result ? 1 : 0;
    expect(remove_tree(place.directory(), "tree"));
  }
  CHECK(std::distance(fs::directory_iterator(place.file("outside")), fs::directory_iterator()) ==
        50);
  CHECK(removed > 50);
}

TEST_CASE("remove: several that remove one tree at once all succeed") {
  const TreePlace place;
  for (int round = 0; round < 10; ++round) {
    for (int d = 0; d < 10; ++d) {
      const auto path = place.file("tree/") + std::to_string(d) + "/deeper";
      fs::create_directories(path);
      for (int i = 0; i < 30; ++i) write_file(path + "/" + std::to_string(i), "");
    }
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        if (!remove_tree(place.directory(), "tree")) ++failures;
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(failures == 0);
    CHECK_FALSE(fs::exists(place.file("tree")));
  }
}

}  // namespace cachectl::tree
