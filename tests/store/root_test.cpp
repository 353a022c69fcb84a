#include "src/store/root.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/store/fixture.hpp"
#include "tests/support/forked.hpp"

namespace cachectl::store {

namespace fs = std::filesystem;
using test::content_of;
using test::Forked;
using test::key_of;
using test::Link;
using test::must;
using test::put;
using test::seen;
using test::TestCache;
using test::write_file;

namespace {

mode_t mode_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error("stat " + path);
  return status.st_mode & 07777U;
}

/// Gives up root's rights, which no permission stops. For forked children.
bool become_nobody() {
  constexpr uid_t kNobody = 65534;
  return ::geteuid() != 0 || (::setresgid(kNobody, kNobody, kNobody) == 0 &&
                              ::setresuid(kNobody, kNobody, kNobody) == 0);
}

/// Sets a value in a child that has this umask and no special rights; what went wrong, or "".
std::string set_as_nobody(TestCache& test, mode_t mask) {
  fs::permissions(test.outside().path(), fs::perms::all);
  Forked child([&](const Link& link) {
    if (!become_nobody()) return 1;
    ::umask(mask);
    const auto cache = test.open();
    const auto set = cache.set(key_of("key"), lock::bytes_of("value"), {});
    const auto again = cache.set(key_of("key"), lock::bytes_of("value"), {});
    link.say(set && again ? seen(cache, key_of("key")) : (set ? again : set).error().describe());
    return 0;
  });
  auto said = child.hear();
  child.wait();
  return said;
}

}  // namespace

TEST_CASE("root: is made with its layout, for its owner alone, whatever the umask") {
  const mode_t mask = GENERATE(0777U, 0U, 022U);
  TestCache test;
  REQUIRE(set_as_nobody(test, mask) == "value: value");
  CHECK(mode_of(test.root()) == 0700);
  for (const auto* directory : {"entries", "attempts", "tmp"}) {
    CHECK(mode_of(test.file(directory)) == 0700);
  }
  const auto record = test.record(key_of("key"));
  CHECK(mode_of(fs::path(record).parent_path().string()) == 0700);
  for (const auto& file :
       {test.file("format"), test.file("CACHEDIR.TAG"), test.file("cache.lock"), record}) {
    CHECK(mode_of(file) == 0600);
  }
  CHECK(content_of(test.file("format")) == "cachectl 1\n");
  CHECK_THAT(content_of(test.file("CACHEDIR.TAG")),
             Catch::StartsWith("Signature: 8a477f597d28d172789f06886806bc55\n"));
  CHECK(test.count("tmp") == 0);
}

TEST_CASE("root: a shared one is open to its group, whatever the umask") {
  const mode_t mask = GENERATE(0777U, 0U, 077U);
  TestCache test(Sharing::group);
  REQUIRE(set_as_nobody(test, mask) == "value: value");
  CHECK(mode_of(test.root()) == 02770);
  for (const auto* directory : {"entries", "attempts", "tmp"}) {
    CHECK(mode_of(test.file(directory)) == 02770);
  }
  const auto record = test.record(key_of("key"));
  CHECK(mode_of(fs::path(record).parent_path().string()) == 02770);
  for (const auto& file : {test.file("format"), test.file("cache.lock"), record}) {
    CHECK(mode_of(file) == 0660);
  }
}

TEST_CASE("root: parents are made too, for the user alone") {
  TestCache test;
  fs::permissions(test.outside().path(), fs::perms::all);
  const auto path = test.root() + "/a/b/c";
  Forked child([&](const Link&) {
    ::umask(0777);
    return become_nobody() && Root::open_or_create(path, Sharing::owner_only) ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  for (const auto& made : {test.root(), test.root() + "/a", test.root() + "/a/b", path}) {
    CHECK(mode_of(made) == 0700);
  }
}

TEST_CASE("root: a parent that may not be written is a permission error that names it") {
  TestCache test;
  fs::create_directory(test.root());
  fs::permissions(test.root(), fs::perms(0555));
  Forked child([&](const Link& link) {
    if (!become_nobody()) return 1;
    const auto root = Root::open_or_create(test.root() + "/home/.cache/x", Sharing::owner_only);
    link.say(root                                    ? "made"
             : root.error().code == Errc::permission ? "permission"
                                                     : root.error().describe());
    return 0;
  });
  CHECK(child.hear() == "permission");
}

TEST_CASE("root: processes that make it at once all find it whole") {
  for (int round = 0; round < 100; ++round) {
    TestCache test;
    std::vector<Forked> children;
    for (int number = 0; number < 2; ++number) {
      children.emplace_back([&, number](const Link& link) {
        if (link.hear() != "go") return 9;
        const auto cache = test.open();
        const auto key = key_of("key " + std::to_string(number));
        if (!cache.set(key, lock::bytes_of("value"), {})) return 1;
        return seen(cache, key) == "value: value" ? 0 : 2;
      });
    }
    for (const auto& child : children) child.say("go");
    for (auto& child : children) REQUIRE(child.wait() == 0);
    const auto cache = test.open();
    REQUIRE(seen(cache, key_of("key 0")) == "value: value");
    REQUIRE(seen(cache, key_of("key 1")) == "value: value");
    REQUIRE(test.count("tmp") == 0);
  }
}

TEST_CASE("root: one that is unfinished is no cache to readers, and finished by writers") {
  // What is there when its maker is killed between any two steps: the layout is made in
  // this order, and format last.
  const std::vector<std::string> steps{"", "entries", "attempts", "tmp", "CACHEDIR.TAG"};
  for (std::size_t done = 0; done <= steps.size(); ++done) {
    for (const auto* left : {"", "tmp/1-0123456789abcdef"}) {
      TestCache test;
      for (std::size_t step = 0; step < done; ++step) {
        if (steps[step].empty() || steps[step].find('.') == std::string::npos) {
          fs::create_directory(test.file(steps[step]));
          fs::permissions(test.file(steps[step]), fs::perms::owner_all);
        } else {
          write_file(test.file(steps[step]), "Signature: ");
        }
      }
      if (done < 4 && *left != '\0') continue;
      if (*left != '\0') write_file(test.file(left), "cache");
      INFO(done << " steps done, left: " << left);
      const auto cache = test.open();
      REQUIRE(seen(cache, key_of("key")) == "miss");
      put(cache, key_of("key"), "value");
      REQUIRE(seen(cache, key_of("key")) == "value: value");
      REQUIRE(content_of(test.file("format")) == "cachectl 1\n");
      must(cache.collect({}));
      REQUIRE(test.count("tmp") == 0);
      REQUIRE(mode_of(test.root()) == 0700);
    }
  }
}

TEST_CASE("root: a directory of the layout that is missing is made again") {
  TestCache test;
  const auto cache = test.open();
  put(cache, key_of("key"), "value");
  for (const auto* directory : {"entries", "attempts", "tmp"}) {
    fs::remove_all(test.file(directory));
    const auto reopened = test.open();
    CHECK(must(reopened.collect({})).problems.empty());
    put(reopened, key_of("key"), "again");
    CHECK(seen(cache, key_of("key")) == "value: again");
    CHECK(must(reopened.run(key_of("fails"), {{"false"}, {}}, {}, {})).status.value == 1);
  }
}

TEST_CASE("root: an empty directory that is there becomes one") {
  TestCache test;
  fs::create_directory(test.root());
  fs::permissions(test.root(), fs::perms(0755));
  const auto cache = test.open();
  CHECK_FALSE(cache.exists());
  put(cache, key_of("key"), "value");
  CHECK(seen(cache, key_of("key")) == "value: value");
  CHECK(mode_of(test.root()) == 0700);
}

}  // namespace cachectl::store
