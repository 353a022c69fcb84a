#include "src/tree/scan.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "src/checksum.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

namespace fs = std::filesystem;
using test::expect;
using test::make_sample;
using test::TreePlace;
using test::write_file;

Error refusal(const TreePlace& place, const std::string& name) {
  auto scanned = scan(place.directory(), name);
  if (scanned) throw std::runtime_error("not refused");
  return scanned.error();
}

const Item& item(const Manifest& manifest, std::string_view path) {
  const auto* found = manifest.find(path);
  if (found == nullptr) throw std::runtime_error("no item " + std::string(path));
  return *found;
}

}  // namespace

TEST_CASE("scan: finds each item with its type, mode, time, size, checksum and target") {
  const TreePlace place;
  make_sample(place.file("tree"));
  const auto manifest = place.manifest("tree");
  INFO(encode(manifest));
  REQUIRE(check(manifest, "it"));
  CHECK(manifest.items.size() == 20);
  CHECK(item(manifest, "").type == Type::directory);
  CHECK(item(manifest, "").modified == FileTime{1'200'000'000, 7});
  const auto& tool = item(manifest, "bin/tool");
  CHECK(tool.type == Type::file);
  CHECK(tool.mode == 0755);
  CHECK(tool.modified == FileTime{1'000'000'000, 123'456'789});
  CHECK(tool.checksum == checksum_of(lock::bytes_of("#!/bin/sh\necho tool\n")));
  const auto& same = item(manifest, "same");
  CHECK(same.type == Type::hard_link);
  CHECK(same.target == "bin/tool");
  CHECK(same.size == tool.size);
  CHECK(item(manifest, "empty.also").target == "bin/tool");
  const auto& link = item(manifest, "link");
  CHECK(link.type == Type::symlink);
  CHECK(link.target == "bin/tool");
  CHECK(link.modified == FileTime{999'999'999, 1});
  CHECK(item(manifest, "dangling").target == "/nowhere/at\nall");
  CHECK(item(manifest, "-rf").mode == 06711);
  CHECK(item(manifest, "-rf").modified == FileTime{-5, 999'999'999});
  CHECK(item(manifest, "empty").mode == 03770);
  CHECK(item(manifest, "holey").size == 16U * 1024 * 1024);
  CHECK(item(manifest, "bin/deep/deeper/file").checksum ==
        checksum_of(lock::bytes_of(std::string(300'000, 'd'))));
  CHECK(expect(decode_manifest(encode(manifest), "it")) == manifest);
}

TEST_CASE("scan: a tree may be one file") {
  const TreePlace place;
  write_file(place.file("tree"), "content");
  const auto manifest = place.manifest("tree");
  REQUIRE(manifest.items.size() == 1);
  CHECK(manifest.items[0].path.empty());
  CHECK(manifest.items[0].checksum == checksum_of(lock::bytes_of("content")));
}

TEST_CASE("scan: any number of threads finds the same") {
  const TreePlace place;
  make_sample(place.file("tree"));
  for (int i = 0; i < 500; ++i) {
    write_file(place.file("tree/bin/deep/") + std::to_string(i), std::to_string(i));
  }
  const auto one = expect(scan(place.directory(), "tree", {Checksums::yes, 1}));
  const auto eight = expect(scan(place.directory(), "tree", {Checksums::yes, 8}));
  CHECK(one.manifest == eight.manifest);
  const auto none = expect(scan(place.directory(), "tree", {Checksums::no, 1}));
  CHECK(none.snapshot == one.snapshot);
  for (const auto& each : none.manifest.items) CHECK_FALSE(each.checksum);
}

TEST_CASE("scan: FIFOs, sockets, devices and links as trees are refused by name") {
  const TreePlace place;
  fs::create_directories(place.file("tree/d"));
  const auto odd = place.file("tree/d/odd\n");
  SECTION("a FIFO") {
    REQUIRE(::mkfifo(odd.c_str(), 0600) == 0);
    CHECK_THAT(refusal(place, "tree").message, Catch::EndsWith("tree/d/odd\\n: is a FIFO"));
  }
  SECTION("a socket") {
    const lock::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(odd.size() < sizeof address.sun_path);
    odd.copy(&address.sun_path[0], odd.size());
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    CHECK_THAT(refusal(place, "tree").message, Catch::EndsWith("tree/d/odd\\n: is a socket"));
  }
  SECTION("a device") {
    if (::mknod(odd.c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0) {
      WARN("skipped: making a device needs root");
      return;
    }
    CHECK_THAT(refusal(place, "tree").message, Catch::EndsWith("tree/d/odd\\n: is a device"));
  }
  SECTION("one that is the tree") {
    REQUIRE(::mkfifo(place.file("fifo").c_str(), 0600) == 0);
    CHECK(refusal(place, "fifo").code == Errc::refused);
    fs::create_directory_symlink(place.file("tree"), place.file("link"));
    CHECK_THAT(refusal(place, "link").message, Catch::EndsWith("link: is a symbolic link"));
    return;
  }
  CHECK(refusal(place, "tree").code == Errc::refused);
}

TEST_CASE("scan: a name that is a path is not taken") {
  const TreePlace place;
  fs::create_directories(place.file("tree/d"));
  for (const auto* name : {"", ".", "..", "tree/d", "/etc"}) {
    CHECK(refusal(place, name).code == Errc::usage);
  }
  CHECK(refusal(place, "none").system_error == ENOENT);
}

TEST_CASE("scan: what cannot be read is an error with its name") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0755) == 0);
  fs::create_directories(place.file("tree/shut"));
  fs::create_directories(place.file("other"));
  write_file(place.file("other/secret"), "secret");
  REQUIRE(::chmod(place.file("tree/shut").c_str(), 0) == 0);
  REQUIRE(::chmod(place.file("other/secret").c_str(), 0) == 0);
  const auto answer = test::as_nobody([&] {
    std::string text;
    for (const auto* name : {"tree", "other"}) {
      auto scanned = scan(place.directory(), name);
      text += scanned ? "scanned" : scanned.error().message;
      if (!scanned && scanned.error().code != Errc::permission) text += " (another code)";
      text += "; ";
    }
    const auto without = scan(place.directory(), "other", {Checksums::no, 1});
    return text + (without ? "scanned" : without.error().message);
  });
  CHECK_THAT(answer, Catch::Contains("tree/shut: Permission denied; ") &&
                         Catch::Contains("other/secret: Permission denied; scanned") &&
                         !Catch::Contains("another code"));
  fs::permissions(place.file("tree/shut"), fs::perms::owner_all);
}

TEST_CASE(
    "scan: a tree of as many levels as allowed needs few descriptors, a deeper one is refused") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  lock::Fd at(::open(place.file("tree").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A second name on each level, so that the way back is needed too.
  const auto descend = [&](std::size_t levels) {
    for (std::size_t i = 0; i < levels; ++i) {
      if (::mkdirat(at.get(), "d", 0700) != 0 || ::mkdirat(at.get(), "e", 0700) != 0) return false;
      at = lock::Fd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    return true;
  };
  REQUIRE(descend(kDeepest - 2));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{std::min<rlim_t>(before.rlim_cur, 100), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const auto scanned = scan(place.directory(), "tree", {Checksums::yes, 1});
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE(scanned);
  CHECK(scanned->manifest.items.size() == 2 * (kDeepest - 2) + 1);
  CHECK(check(scanned->manifest, "it"));
  REQUIRE(descend(3));
  const auto error = refusal(place, "tree");
  CHECK(error.code == Errc::refused);
  CHECK_THAT(error.message, Catch::EndsWith("more than 4000 levels"));
}

TEST_CASE("scan: a directory that becomes a link meanwhile leads nowhere") {
  const TreePlace place;
  fs::create_directories(place.file("tree/a/victim"));
  fs::create_directories(place.file("outside"));
  write_file(place.file("outside/secret"), "secret of the outside");
  for (int i = 0; i < 40; ++i) {
    write_file(place.file("tree/a/victim/") + std::to_string(i), "inside");
  }
  write_file(place.file("tree/a/victim/secret"), "inside");
  fs::create_directory_symlink(place.file("outside"), place.file("link"));
  std::atomic<bool> stop = false;
  std::thread attacker([&] {
    const auto victim = place.file("tree/a/victim");
    const auto link = place.file("link");
    while (!stop) {
      ::renameat2(AT_FDCWD, victim.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE);
    }
  });
  const auto secret = checksum_of(lock::bytes_of("secret of the outside"));
  int leaks = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto scanned = scan(place.directory(), "tree", {Checksums::yes, 1});
    if (!scanned) continue;
    for (const auto& each : scanned->manifest.items) leaks += each.checksum == secret ? 1 : 0;
  }
  stop = true;
  attacker.join();
  CHECK(leaks == 0);
}

}  // namespace cachectl::tree
