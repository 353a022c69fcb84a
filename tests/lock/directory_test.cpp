#include "lock/directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/denied_call.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::Forked;
using test::Link;
using test::TempDirectory;

std::string tell(const Error& error) {
  if (error.code == Errc::refused) return "refused";
  if (error.system_error == ENOENT) return "missing";
  return error.describe();
}

/// Opens for writing: "opened", "refused", "missing" or another error.
std::string try_open(const Directory& directory, const std::string& name, int flags) {
  const auto file = directory.open_file(name, flags, 0600);
  return file ? "opened" : tell(file.error());
}

/// A tree with links that lead out of it and within it.
struct Tree {
  Tree() {
    fs::create_directories(outside.file("victim"));
    fs::create_directories(inside.file("real/deeper"));
    test::write_file(inside.file("real/deeper/file"), "content");
    fs::create_symlink(outside.path(), inside.file("out"));
    fs::create_symlink("real", inside.file("in"));
    fs::create_symlink(outside.file("planted"), inside.file("dangling"));
    fs::create_symlink("file", inside.file("real/deeper/link"));
  }
  TempDirectory outside;
  TempDirectory inside;
};

/// How openat2 answers in a forked child: as it does, or as if it were not there.
enum class Resolver { kernel, old_kernel, sandbox };

/// Runs `body` in a child whose kernel resolves as said; what it tells comes back.
std::string with_resolver(Resolver resolver, const std::function<std::string()>& body) {
  Forked child([&](const Link& link) {
    const int error = resolver == Resolver::old_kernel ? ENOSYS : EPERM;
    if (resolver != Resolver::kernel && !test::deny_system_call(SYS_openat2, error)) {
      link.say("no seccomp here");
      return 1;
    }
    link.say(body());
    return 0;
  });
  return child.hear();
}

}  // namespace

TEST_CASE("directory: nothing is opened through a link, above the directory or by absolute path") {
  const Tree tree;
  const auto resolver = GENERATE(Resolver::kernel, Resolver::old_kernel, Resolver::sandbox);
  CAPTURE(static_cast<int>(resolver));
  const auto directory = tree.inside.open();
  const auto opening = [&](const std::string& name, int flags) {
    return with_resolver(resolver, [&] { return try_open(directory, name, flags); });
  };
  for (const int flags : {O_RDONLY, O_RDWR | O_CREAT, O_RDONLY | O_DIRECTORY}) {
    CAPTURE(flags);
    CHECK(opening("out/victim", flags) == "refused");
    CHECK(opening("out/planted", flags) == "refused");
    CHECK(opening("in/deeper", flags) == "refused");
    CHECK(opening("in/deeper/file", flags) == "refused");
    CHECK(opening("out", flags) == "refused");
    CHECK(opening("dangling", flags) == "refused");
    CHECK(opening("real/deeper/link", flags) == "refused");
    CHECK(opening("../planted", flags) == "refused");
    CHECK(opening("real/../../planted", flags) == "refused");
    CHECK(opening(tree.outside.file("planted"), flags) == "refused");
    CHECK(opening("/", flags) == "refused");
  }
  CHECK(tree.outside.count() == 1);
}

TEST_CASE("directory: what is really below it is opened and created") {
  const Tree tree;
  const auto resolver = GENERATE(Resolver::kernel, Resolver::old_kernel, Resolver::sandbox);
  CAPTURE(static_cast<int>(resolver));
  const auto directory = tree.inside.open();
  const auto opening = [&](const std::string& name, int flags) {
    return with_resolver(resolver, [&] { return try_open(directory, name, flags); });
  };
  CHECK(opening("real", O_RDONLY | O_DIRECTORY) == "opened");
  CHECK(opening("real/deeper/file", O_RDWR) == "opened");
  CHECK(opening("real/deeper/new", O_RDWR | O_CREAT | O_EXCL) == "opened");
  CHECK(fs::exists(tree.inside.file("real/deeper/new")));
  CHECK(opening("real/none", O_RDONLY) == "missing");
  CHECK(opening("none/file", O_RDONLY) == "missing");
  CHECK(opening("", O_RDONLY) == "missing");
}

TEST_CASE("directory: every descriptor is closed on exec") {
  const Tree tree;
  const auto resolver = GENERATE(Resolver::kernel, Resolver::old_kernel);
  const auto directory = tree.inside.open();
  CHECK(with_resolver(resolver, [&] {
          const auto file = directory.open_file("real/deeper/file", O_RDONLY);
          const auto below = directory.open_below("real");
          const auto closes = [](int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; };
          return closes(directory.descriptor()) && file && closes(file->get()) && below &&
                         closes(below->descriptor())
                     ? "closes"
                     : "leaks";
        }) == "closes");
}

TEST_CASE("directory: a root that is a link, a file or missing is not opened") {
  const Tree tree;
  const auto link = Directory::open(tree.inside.file("out"));
  REQUIRE_FALSE(link);
  CHECK(link.error().code == Errc::refused);
  CHECK_FALSE(Directory::open(tree.inside.file("real/deeper/file")));
  const auto missing = Directory::open(tree.inside.file("none"));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().system_error == ENOENT);
}

TEST_CASE("directory: ensure_below creates once, with its mode whatever the umask") {
  const TempDirectory temp;
  const auto directory = temp.open();
  const mode_t before = ::umask(0777);
  const auto made = directory.ensure_below("made", 02770, true);
  ::umask(before);
  REQUIRE(made);
  struct stat status {};
  REQUIRE(::stat(temp.file("made").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 02770);
  REQUIRE(directory.ensure_below("made", 0700, false));
  REQUIRE(::stat(temp.file("made").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 02770);
}

TEST_CASE("directory: ensure_below accepts no link and no file in place of a directory") {
  const Tree tree;
  const auto directory = tree.inside.open();
  CHECK_FALSE(directory.ensure_below("out", 0700, false));
  CHECK_FALSE(directory.ensure_below("dangling", 0700, false));
  test::write_file(tree.inside.file("file"), "");
  CHECK_FALSE(directory.ensure_below("file", 0700, false));
  CHECK(tree.outside.count() == 1);
}

TEST_CASE("directory: absence is a value, and a link is an error and not absence") {
  const Tree tree;
  const auto directory = tree.inside.open();
  const auto none = directory.open_if_exists("none", O_RDONLY);
  REQUIRE(none);
  CHECK_FALSE(*none);
  CHECK_FALSE(directory.open_if_exists("dangling", O_RDONLY));
  const auto status = directory.status("none");
  REQUIRE(status);
  CHECK_FALSE(*status);
  const auto link = directory.status("dangling");
  REQUIRE(link);
  REQUIRE(*link);
  CHECK(S_ISLNK((*link)->st_mode));
}

TEST_CASE("directory: unlink removes a link and not what it points to, and says what was there") {
  const Tree tree;
  const auto directory = tree.inside.open();
  CHECK(directory.unlink("out") == true);
  CHECK(fs::exists(tree.outside.file("victim")));
  CHECK(directory.unlink("out") == false);
  CHECK_FALSE(directory.unlink("real"));
}

TEST_CASE("directory: an open directory is the same one after it was moved away") {
  const TempDirectory temp;
  const auto directory = temp.open();
  const auto below = directory.ensure_below("below", 0700, false);
  REQUIRE(below);
  fs::rename(temp.file("below"), temp.file("moved"));
  fs::create_symlink("/", temp.file("below"));
  CHECK(try_open(*below, "file", O_RDWR | O_CREAT) == "opened");
  CHECK(fs::exists(temp.file("moved/file")));
}

}  // namespace cachectl::lock
