#include "lock/staged_file.hpp"

#include <sys/stat.h>
#include <utime.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::Forked;
using test::Link;
using test::TempDirectory;

/// A root with a staging directory "tmp" and a target directory "entries".
struct Root {
  Root() {
    for (const auto* name : {"tmp", "entries"}) fs::create_directory(directory.file(name));
  }
  [[nodiscard]] Directory open(const std::string& name) const {
    return directory.open().open_below(name).value();
  }
  [[nodiscard]] std::ptrdiff_t count(const std::string& name) const {
    return std::distance(fs::directory_iterator(directory.file(name)), fs::directory_iterator());
  }

  TempDirectory directory;
};

std::string name_of(const StagedFile& file) { return fs::path(file.path()).filename().string(); }

StagedFile staged(const Directory& staging, std::string_view content) {
  auto file = StagedFile::create(staging, 0600).value();
  if (!write_all(file.descriptor(), bytes_of(content), "staged")) throw std::runtime_error("write");
  return file;
}

}  // namespace

TEST_CASE("publish: commit replaces the old value and leaves no staging file") {
  const Root root;
  const auto staging = root.open("tmp");
  const auto target = root.open("entries");
  const auto durability = GENERATE(Durability::full, Durability::none);
  for (const std::string content : {"old", "new"}) {
    auto file = staged(staging, content);
    CHECK(root.count("tmp") == 1);
    REQUIRE(file.commit(target, "key", durability));
    CHECK(content_of(root.directory.file("entries/key")) == content);
    CHECK(root.count("tmp") == 0);
  }
  CHECK(root.count("entries") == 1);
}

TEST_CASE("publish: a name that is there is left to who has it, where asked for") {
  const Root root;
  const auto staging = root.open("tmp");
  const auto target = root.open("entries");
  for (const std::string content : {"first", "second"}) {
    auto file = staged(staging, content);
    REQUIRE(file.commit_unless_there(target, "key"));
    CHECK(content_of(root.directory.file("entries/key")) == "first");
  }
  CHECK(root.count("tmp") == 0);
}

TEST_CASE("publish: a staged file is invisible under its name until the commit") {
  const Root root;
  const auto staging = root.open("tmp");
  auto file = staged(staging, "value");
  CHECK(root.count("entries") == 0);
  CHECK(file.path() == root.directory.file("tmp") + "/" + name_of(file));
}

TEST_CASE("publish: a file that is dropped is rolled back") {
  const Root root;
  const auto staging = root.open("tmp");
  { const auto file = staged(staging, "value"); }
  CHECK(root.count("tmp") == 0);
  {
    auto first = staged(staging, "value");
    const auto second = std::move(first);
    CHECK(root.count("tmp") == 1);
  }
  CHECK(root.count("tmp") == 0);
}

TEST_CASE("publish: a failed rename leaves the old value and no staging file") {
  const Root root;
  const auto staging = root.open("tmp");
  const auto target = root.open("entries");
  SECTION("the target is a directory") {
    fs::create_directories(root.directory.file("entries/key/inside"));
    auto file = staged(staging, "new");
    const auto committed = file.commit(target, "key", Durability::full);
    REQUIRE_FALSE(committed);
    CHECK(committed.error().code == Errc::io);
    CHECK_THAT(committed.error().describe(), Catch::Contains("entries/key"));
    CHECK(fs::is_directory(root.directory.file("entries/key/inside")));
  }
  SECTION("the target directory is gone") {
    fs::remove(root.directory.file("entries"));
    auto file = staged(staging, "new");
    CHECK_FALSE(file.commit(target, "key", Durability::full));
  }
  SECTION("the staging file was taken away") {
    test::write_file(root.directory.file("entries/key"), "old");
    auto file = staged(staging, "new");
    fs::remove(file.path());
    CHECK_FALSE(file.commit(target, "key", Durability::full));
    CHECK(content_of(root.directory.file("entries/key")) == "old");
  }
  CHECK(root.count("tmp") == 0);
}

TEST_CASE("publish: the mode is exactly the one asked for, whatever the umask") {
  const Root root;
  const auto mode = GENERATE(0600U, 0660U, 0644U);
  const auto mask = GENERATE(0U, 0022U, 0777U);
  Forked child([&](const Link&) {
    ::umask(mask);
    const auto staging = root.open("tmp");
    auto file = StagedFile::create(staging, mode);
    return file && file->commit(root.open("entries"), "key", Durability::none) ? 0 : 1;
  });
  REQUIRE(child.wait() == 0);
  struct stat status {};
  REQUIRE(::stat(root.directory.file("entries/key").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == mode);
}

TEST_CASE("publish: an anonymous file has no name and stays readable") {
  const Root root;
  const auto staging = root.open("tmp");
  auto file = staged(staging, "value");
  REQUIRE(file.make_anonymous());
  CHECK(root.count("tmp") == 0);
  std::array<std::byte, 5> buffer{};
  const auto got = read_full_at(file.descriptor(), buffer, 0, "anonymous");
  REQUIRE(got);
  CHECK(*got == 5);
}

TEST_CASE("publish: a staging directory that is gone is an error") {
  const Root root;
  const auto staging = root.open("tmp");
  fs::remove(root.directory.file("tmp"));
  const auto file = StagedFile::create(staging, 0600);
  REQUIRE_FALSE(file);
  CHECK(file.error().system_error == ENOENT);
}

TEST_CASE("clean-up: the file of a killed process is removed, that of a stopped one is not") {
  const Root root;
  const auto staging = root.open("tmp");
  Forked creator([&](const Link& link) {
    auto file = staged(staging, "value");
    link.say(name_of(file));
    return link.hear() == "go" ? 0 : 1;
  });
  const auto name = creator.hear();
  creator.stop();
  // Age is no proof of death: neither an old file nor one of the future is touched.
  for (const time_t when : {time_t{1}, time_t{4102444800}}) {
    const utimbuf times{when, when};
    REQUIRE(::utime(root.directory.file("tmp/" + name).c_str(), &times) == 0);
    CHECK(remove_if_abandoned(staging, name, false) == StagedFate::alive);
    CHECK(remove_if_abandoned(staging, name, true) == StagedFate::alive);
  }
  CHECK(root.count("tmp") == 1);
  creator.kill();
  CHECK(remove_if_abandoned(staging, name, true) == StagedFate::removed);
  CHECK(root.count("tmp") == 1);  // that was a dry run
  CHECK(remove_if_abandoned(staging, name, false) == StagedFate::removed);
  CHECK(root.count("tmp") == 0);
  CHECK(remove_if_abandoned(staging, name, false) == StagedFate::gone);
}

TEST_CASE("clean-up: a live file of this very process is alive, before and after being asked") {
  const Root root;
  const auto staging = root.open("tmp");
  Forked other([&](const Link& link) {
    const auto name = link.hear();
    const auto fate = remove_if_abandoned(staging, name, false);
    link.say(fate && *fate == StagedFate::alive ? "alive" : "not alive");
    return 0;
  });
  const auto file = staged(staging, "value");
  CHECK(remove_if_abandoned(staging, name_of(file), false) == StagedFate::alive);
  other.say(name_of(file));
  CHECK(other.hear() == "alive");
  CHECK(root.count("tmp") == 1);
}

TEST_CASE("clean-up: a file that was published or dropped is gone") {
  const Root root;
  const auto staging = root.open("tmp");
  auto file = staged(staging, "value");
  const auto name = name_of(file);
  REQUIRE(file.commit(root.open("entries"), "key", Durability::none));
  CHECK(remove_if_abandoned(staging, name, false) == StagedFate::gone);
  CHECK(content_of(root.directory.file("entries/key")) == "value");
}

TEST_CASE("clean-up: a symbolic link in the staging directory is not followed") {
  const Root root;
  const auto staging = root.open("tmp");
  test::write_file(root.directory.file("victim"), "precious");
  fs::create_symlink("../victim", root.directory.file("tmp/link"));
  CHECK_FALSE(remove_if_abandoned(staging, "link", false));
  CHECK(content_of(root.directory.file("victim")) == "precious");
}

TEST_CASE("clean-up: a named pipe in the staging directory does not block it") {
  const Root root;
  const auto staging = root.open("tmp");
  REQUIRE(::mkfifo(root.directory.file("tmp/pipe").c_str(), 0600) == 0);
  CHECK(remove_if_abandoned(staging, "pipe", false) == StagedFate::removed);
}

}  // namespace cachectl::lock
