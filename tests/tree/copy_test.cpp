#include "src/tree/copy.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "src/checksum.hpp"
#include "src/tree/remove.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::tree {

namespace {

namespace fs = std::filesystem;
using test::as_nobody;
using test::content_of;
using test::expect;
using test::make_sample;
using test::TreePlace;
using test::write_file;

CopyOptions options_of(Checksums checksums, unsigned jobs = 2,
                       std::vector<Method> methods = {Method::reflink, Method::copy}) {
  CopyOptions options;
  options.methods = std::move(methods);
  options.jobs = jobs;
  options.checksums = checksums;
  return options;
}

blkcnt_t blocks_of(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? status.st_blocks : -1;
}

struct stat status_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) throw std::runtime_error("lstat " + path);
  return status;
}

/// Swaps two names as fast as it can.
class Swapping {
 public:
  Swapping(std::string one, std::string other)
      : thread_([this, one = std::move(one), other = std::move(other)] {
          while (!stop_) {
            ::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
          }
        }) {}
  ~Swapping() {
    stop_ = true;
    thread_.join();
  }
  Swapping(const Swapping&) = delete;
  Swapping& operator=(const Swapping&) = delete;

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace

TEST_CASE("copy: a tree and its copy are the same, by each method and with any threads") {
  const TreePlace place;
  make_sample(place.file("tree"));
  for (int i = 0; i < 200; ++i) {
    write_file(place.file("tree/bin/deep/") + std::to_string(i), std::to_string(i));
  }
  const auto before = place.manifest("tree");
  const auto methods =
      GENERATE(std::vector{Method::reflink, Method::copy}, std::vector{Method::copy},
               std::vector{Method::hard_link}, std::vector{Method::hard_link, Method::copy});
  const auto checksums = GENERATE(Checksums::no, Checksums::yes);
  const unsigned jobs = GENERATE(1U, 4U);
  const auto outcome = expect(copy_tree(place.directory(), "tree", place.directory(), "copy",
                                        options_of(checksums, jobs, methods)));
  const auto copy = place.manifest("copy");
  CHECK(test::difference(before, copy).empty());
  CHECK(outcome.files == before.files());
  CHECK(outcome.bytes == before.bytes());
  if (checksums == Checksums::yes) CHECK(test::difference(outcome.manifest, copy).empty());
  CHECK(test::difference(place.manifest("tree"), before).empty());
  // Who writes to a copy must not write to the original, and the other way round.
  const bool shared =
      status_of(place.file("tree/-rf")).st_ino == status_of(place.file("copy/-rf")).st_ino;
  CHECK(shared == (methods[0] == Method::hard_link));
  CHECK(blocks_of(place.file("copy/holey")) <= blocks_of(place.file("tree/holey")));
  CHECK((outcome.method == methods[0] || !outcome.why_not.empty()));
}

TEST_CASE("copy: a tree may be one file") {
  const TreePlace place;
  write_file(place.file("tree"), "content");
  REQUIRE(::chmod(place.file("tree").c_str(), 04751) == 0);
  test::set_time(place.file("tree"), 77, 7);
  const auto outcome = expect(
      copy_tree(place.directory(), "tree", place.directory(), "copy", options_of(Checksums::yes)));
  CHECK(place.difference("tree", "copy").empty());
  CHECK(outcome.manifest == place.manifest("copy"));
  CHECK(outcome.files == 1);
}

TEST_CASE("copy: what exists is not touched") {
  const TreePlace place;
  write_file(place.file("file"), "file");
  fs::create_directories(place.file("tree/d"));
  write_file(place.file("there"), "there");
  fs::create_directories(place.file("full/d"));
  fs::create_symlink("elsewhere", place.file("link"));
  for (const auto* from : {"file", "tree"}) {
    for (const auto* to : {"there", "full", "link"}) {
      const auto copied = copy_tree(place.directory(), from, place.directory(), to);
      REQUIRE_FALSE(copied);
      CHECK(copied.error().system_error == EEXIST);
    }
  }
  CHECK(content_of(place.file("there")) == "there");
  CHECK_FALSE(fs::exists(place.file("elsewhere")));
  CHECK(copy_tree(place.directory(), "../x", place.directory(), "y").error().code == Errc::usage);
  CHECK(copy_tree(place.directory(), "tree", place.directory(), "x/y").error().code == Errc::usage);
}

TEST_CASE("copy: a manifest decides what is copied, and with which modes and times") {
  const TreePlace place;
  fs::create_directories(place.file("tree/d"));
  write_file(place.file("tree/d/wanted"), "wanted");
  write_file(place.file("tree/d/unwanted"), "unwanted");
  auto manifest = place.manifest("tree");
  auto& items = manifest.items;
  REQUIRE(items[2].path == "d/unwanted");
  items.erase(items.begin() + 2);
  items[2].mode = 0604;
  items[2].modified = {123, 456};
  items[1].mode = 0711;
  const auto outcome = expect(copy_tree(place.directory(), "tree", manifest, place.directory(),
                                        "copy", options_of(Checksums::yes)));
  CHECK(test::difference(place.manifest("copy"), manifest).empty());
  CHECK(outcome.manifest == manifest);
}

TEST_CASE("copy: a tree that is not what the manifest says is found out") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  write_file(place.file("tree/file"), "content");
  write_file(place.file("tree/large"), std::string(400'000, 'x'));
  const auto manifest = place.manifest("tree");
  const auto methods =
      GENERATE(std::vector{Method::reflink, Method::copy}, std::vector{Method::hard_link});
  auto code = Errc::corrupt;
  SECTION("another size") { write_file(place.file("tree/large"), std::string(399'999, 'x')); }
  SECTION("another content of the same size and time") {
    write_file(place.file("tree/large"), std::string(399'999, 'x') + "y");
    const auto time = manifest.find("large")->modified;
    test::set_time(place.file("tree/large"), time.seconds, time.nanoseconds);
  }
  SECTION("a link") {
    fs::remove(place.file("tree/file"));
    fs::create_symlink("/etc/passwd", place.file("tree/file"));
    if (methods[0] != Method::hard_link) code = Errc::refused;
  }
  SECTION("a FIFO, which stops nobody") {
    fs::remove(place.file("tree/file"));
    REQUIRE(::mkfifo(place.file("tree/file").c_str(), 0600) == 0);
    if (methods[0] != Method::hard_link) code = Errc::refused;
  }
  SECTION("nothing") {
    fs::remove(place.file("tree/file"));
    code = Errc::io;
  }
  const auto copied = copy_tree(place.directory(), "tree", manifest, place.directory(), "copy",
                                options_of(Checksums::yes, 2, methods));
  REQUIRE_FALSE(copied);
  INFO(copied.error().describe());
  CHECK(copied.error().code == code);
  CHECK_THAT(copied.error().message, Catch::Contains("/tree/") || Catch::Contains("/copy/"));
}

TEST_CASE("copy: a manifest that leads out of the tree is refused before anything is written") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  write_file(place.file("secret"), "secret");
  auto manifest = place.manifest("tree");
  manifest.items.push_back({"../secret", Type::file, 0600, {}, 6, {}, {}});
  CHECK(copy_tree(place.directory(), "tree", manifest, place.directory(), "copy").error().code ==
        Errc::corrupt);
  CHECK_FALSE(fs::exists(place.file("copy")));
}

TEST_CASE("copy: without rights to write into a directory, its content comes all the same") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  fs::create_directories(place.file("tree/closed/deeper"));
  write_file(place.file("tree/closed/deeper/file"), "file");
  REQUIRE(::chmod(place.file("tree/closed/deeper").c_str(), 0555) == 0);
  REQUIRE(::chmod(place.file("tree/closed").c_str(), 0555) == 0);
  REQUIRE(::chmod(place.file("tree").c_str(), 0555) == 0);
  const mode_t mask = GENERATE(0022U, 0777U);
  const auto answer = as_nobody([&]() -> std::string {
    ::umask(mask);
    auto copied = copy_tree(place.directory(), "tree", place.directory(), "copy");
    return copied ? "copied" : copied.error().describe();
  });
  CHECK(answer == "copied");
  CHECK(place.difference("tree", "copy").empty());
}

TEST_CASE("copy: directories that their owner may not enter get their content and their mode") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  fs::create_directories(place.file("tree/shut/deeper"));
  write_file(place.file("tree/shut/deeper/file"), "file");
  auto manifest = place.manifest("tree");
  for (auto& item : manifest.items) {
    if (item.type == Type::directory) item.mode = 0;
  }
  const auto answer = as_nobody([&] {
    auto copied = copy_tree(place.directory(), "tree", manifest, place.directory(), "copy");
    return copied ? "copied" : copied.error().describe();
  });
  CHECK(answer == "copied");
  if (::geteuid() == 0) CHECK(test::difference(place.manifest("copy"), manifest).empty());
  expect(remove_tree(place.directory(), "copy"));
}

TEST_CASE("copy: a file that cannot be read is an error with its name") {
  const TreePlace place;
  REQUIRE(::chmod(place.directory().path().c_str(), 0777) == 0);
  fs::create_directories(place.file("tree"));
  write_file(place.file("tree/secret"), "secret");
  REQUIRE(::chmod(place.file("tree/secret").c_str(), 0) == 0);
  const auto answer = as_nobody([&] {
    const auto copied = copy_tree(place.directory(), "tree", place.directory(), "copy");
    return copied ? "copied" : copied.error().message;
  });
  CHECK_THAT(answer, Catch::EndsWith("tree/secret: Permission denied"));
}

TEST_CASE("copy: says which method was used, and why not another") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  write_file(place.file("tree/file"), "content");
  if (!fs::exists("/dev/shm")) {
    WARN("skipped: no second file system");
    return;
  }
  // From one file system to another neither blocks nor files can be shared.
  const auto shm = "/dev/shm/cachectl-copy-" + std::to_string(::getpid());
  fs::create_directory(shm);
  const auto other = expect(lock::Directory::open(shm));
  const auto outcome = expect(
      copy_tree(place.directory(), "tree", other, "copy",
                options_of(Checksums::no, 1, {Method::hard_link, Method::reflink, Method::copy})));
  CHECK(outcome.method == Method::copy);
  CHECK_THAT(outcome.why_not, Catch::StartsWith("hardlink: Invalid cross-device link; reflink: "));
  const auto refused = copy_tree(place.directory(), "tree", other, "none",
                                 options_of(Checksums::no, 1, {Method::hard_link}));
  fs::remove_all(shm);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::unsupported);
  CHECK_THAT(refused.error().message,
             Catch::Contains("hardlink: ") && Catch::Contains("cross-device"));
}

TEST_CASE("copy: progress goes up to all bytes and files") {
  const TreePlace place;
  make_sample(place.file("tree"));
  const auto checksums = GENERATE(Checksums::no, Checksums::yes);
  auto options = options_of(checksums, 4);
  Progress last;
  bool up = true;
  options.progress = [&](const Progress& now) {
    up = up && now.bytes >= last.bytes && now.files >= last.files;
    last = now;
  };
  const auto outcome =
      expect(copy_tree(place.directory(), "tree", place.directory(), "copy", options));
  CHECK(up);
  CHECK(last.bytes == outcome.manifest.bytes());
  CHECK(last.files == outcome.manifest.files());
}

TEST_CASE("copy: holes anywhere are kept, and the bytes between them") {
  const TreePlace place;
  const auto path = place.file("tree");
  constexpr std::size_t kMiB = 1024 * 1024;
  const lock::Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  for (const std::size_t at : {1 * kMiB, 3 * kMiB + 77, 9 * kMiB}) {
    expect(lock::write_all_at(file.get(), lock::bytes_of("here"), at, path));
  }
  const bool tail = GENERATE(false, true);
  if (tail) REQUIRE(::ftruncate(file.get(), 20 * kMiB) == 0);
  const auto checksums = GENERATE(Checksums::no, Checksums::yes);
  expect(copy_tree(place.directory(), "tree", place.directory(), "copy",
                   options_of(checksums, 1, {Method::copy})));
  CHECK(place.difference("tree", "copy").empty());
  CHECK(content_of(path) == content_of(place.file("copy")));
  CHECK(blocks_of(place.file("copy")) * 512 < 1024 * 1024);
}

TEST_CASE("copy: a directory of the source that becomes a link meanwhile leads nowhere") {
  const TreePlace place;
  fs::create_directories(place.file("tree/a/victim"));
  fs::create_directories(place.file("outside"));
  fs::create_directory_symlink(place.file("outside"), place.file("link"));
  for (int i = 0; i < 20; ++i) {
    write_file(place.file("tree/a/victim/") + std::to_string(i), "inside!");
    write_file(place.file("outside/") + std::to_string(i), "outside");
  }
  const auto outside = checksum_of(lock::bytes_of("outside"));
  const auto manifest = expect(scan(place.directory(), "tree", {Checksums::no, 1})).manifest;
  int leaks = 0;
  int copies = 0;
  {
    const Swapping swapping(place.file("tree/a/victim"), place.file("link"));
    for (int i = 0; i < 300; ++i) {
      auto copied = copy_tree(place.directory(), "tree", manifest, place.directory(),
                              "copy" + std::to_string(i), options_of(Checksums::yes, 1));
      if (!copied) continue;
      ++copies;
      for (const auto& each : copied->manifest.items) leaks += each.checksum == outside ? 1 : 0;
    }
  }
  CHECK(leaks == 0);
  UNSCOPED_INFO(copies);
}

TEST_CASE("copy: a directory of the copy that becomes a link meanwhile leads nowhere") {
  const TreePlace place;
  fs::create_directories(place.file("tree/d/victim"));
  for (int i = 0; i < 100; ++i) write_file(place.file("tree/d/victim/") + std::to_string(i), "new");
  fs::create_directories(place.file("outside"));
  REQUIRE(::chmod(place.file("outside").c_str(), 0711) == 0);
  fs::create_directory_symlink(place.file("outside"), place.file("link"));
  const auto outside = status_of(place.file("outside"));
  for (int i = 0; i < 100; ++i) {
    const auto name = "copy" + std::to_string(i);
    const Swapping swapping(place.file(name + "/d/victim"), place.file("link"));
    (void)copy_tree(place.directory(), "tree", place.directory(), name);
  }
  CHECK(fs::is_empty(place.file("outside")));
  const auto after = status_of(place.file("outside"));
  CHECK(after.st_mode == outside.st_mode);
  CHECK(FileTime::of(after.st_mtim) == FileTime::of(outside.st_mtim));
}

TEST_CASE("copy: a tree of as many levels as allowed is copied with few descriptors") {
  const TreePlace place;
  fs::create_directories(place.file("tree"));
  lock::Fd at(::open(place.file("tree").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(::mkdirat(at.get(), "d", 0700) == 0);
    REQUIRE(::symlinkat("z", at.get(), "z") == 0);
    at = lock::Fd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  expect(copy_tree(place.directory(), "tree", place.directory(), "copy"));
  CHECK(place.difference("tree", "copy").empty());
}

}  // namespace cachectl::tree
