#include "src/remote/breaker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

using remote::Breaker;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using Verdict = Breaker::Verdict;

namespace fs = std::filesystem;

namespace {

constexpr const char* kServer = "redis://one:6379";

struct Switch {
  explicit Switch(nanoseconds trial = seconds(2))
      : root(temp.open()), breaker(root, 0600, trial, kServer) {}

  TempDirectory temp;
  lock::Directory root;
  Breaker breaker;

  [[nodiscard]] std::string path() const { return temp.file(Breaker::kName); }
  void open() {
    for (std::uint64_t i = 0; i < Breaker::kFailures; ++i) breaker.failed(breaker.ask());
  }
  /// Sets the time of the next trial back, as if it had passed.
  void cool_down() const {
    const std::uint64_t past = 1;
    set_trial(past);
  }
  void set_trial(std::uint64_t at) const {
    // In place: the file is mapped.
    const lock::Fd file(::open(path().c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(lock::write_all_at(file.get(), std::as_bytes(std::span(&at, 1)), row() + 16, "state"));
  }
  /// Where the row of the only server begins.
  [[nodiscard]] std::size_t row() const {
    return content_of(path()).find_first_not_of('\0', 64) / 64 * 64;
  }
};

}  // namespace

TEST_CASE("remote breaker: five failures in a row open it, and nothing less") {
  Switch s;
  for (int i = 0; i < 4; ++i) CHECK_FALSE(s.breaker.failed(s.breaker.ask()));
  CHECK_FALSE(s.breaker.succeeded());
  for (int i = 0; i < 4; ++i) CHECK_FALSE(s.breaker.failed(s.breaker.ask()));
  CHECK(s.breaker.ask() == Verdict::pass);
  CHECK(s.breaker.failed(Verdict::pass));
  CHECK(s.breaker.ask() == Verdict::refused);
  CHECK(s.breaker.left() > seconds(0));
  CHECK(s.breaker.left() <= seconds(1));
}

TEST_CASE("remote breaker: after the cool-down one tries, and its success closes it") {
  Switch s;
  s.open();
  s.cool_down();
  CHECK(s.breaker.ask() == Verdict::trial);
  CHECK(s.breaker.ask() == Verdict::refused);
  CHECK(s.breaker.succeeded());
  CHECK(s.breaker.ask() == Verdict::pass);
  CHECK_FALSE(s.breaker.failed(Verdict::pass));
}

TEST_CASE("remote breaker: each failed trial doubles the cool-down, up to 30 s") {
  Switch s;
  s.open();
  auto longest = seconds(1);
  for (int i = 0; i < 8; ++i) {
    longest = std::min(2 * longest, seconds(30));
    s.cool_down();
    REQUIRE(s.breaker.ask() == Verdict::trial);
    CHECK_FALSE(s.breaker.failed(Verdict::trial));
    CHECK(s.breaker.left() <= longest);
    CHECK(s.breaker.left() > longest / 2 - milliseconds(200));
  }
  s.cool_down();
  CHECK(s.breaker.ask() == Verdict::trial);
  CHECK(s.breaker.succeeded());
  s.open();
  CHECK(s.breaker.left() <= seconds(1));
}

TEST_CASE("remote breaker: one that dies in its trial keeps nobody else from trying") {
  Switch s(milliseconds(50));
  s.open();
  s.cool_down();
  Forked child([&](const Link& link) {
    link.say(s.breaker.ask() == Verdict::trial ? "trial" : "no");
    static_cast<void>(link.hear());
    return 0;
  });
  REQUIRE(child.hear() == "trial");
  child.kill();
  CHECK(wait_until([&] { return s.breaker.ask() == Verdict::trial; }));
}

TEST_CASE("remote breaker: all processes share it, and one of them tries") {
  Switch s;
  std::vector<Forked> crowd;
  for (int i = 0; i < 5; ++i) {
    crowd.emplace_back([&](const Link& link) {
      Breaker own(s.root, 0600, seconds(2), kServer);
      own.failed(own.ask());
      link.say("failed");
      static_cast<void>(link.hear());
      link.say(own.ask() == Verdict::trial ? "trial" : "refused");
      static_cast<void>(link.hear());
      return 0;
    });
  }
  for (auto& one : crowd) CHECK(one.hear() == "failed");
  CHECK(s.breaker.ask() == Verdict::refused);
  s.cool_down();
  int trials = 0;
  for (auto& one : crowd) one.say("go");
  for (auto& one : crowd) trials += one.hear() == "trial" ? 1 : 0;
  CHECK(trials == 1);
  for (auto& one : crowd) one.say("end");
}

TEST_CASE("remote breaker: a file that is none of ours is replaced, also under our hands") {
  Switch s;
  const auto way = GENERATE(0, 1, 2, 3, 4, 5);
  const bool mapped = GENERATE(true, false);
  INFO(way << (mapped ? " while mapped" : ""));
  if (mapped) s.open();
  fs::remove(s.path());
  if (way == 1) write_file(s.path(), "");
  if (way == 2) write_file(s.path(), std::string(4096, 'x'));
  if (way == 3) write_file(s.path(), std::string(64, 'x'));
  if (way == 4) fs::create_symlink("/etc/passwd", s.path());
  if (way == 5) REQUIRE(::mkfifo(s.path().c_str(), 0600) == 0);
  CHECK(s.breaker.ask() == Verdict::pass);
  CHECK(fs::is_regular_file(fs::symlink_status(s.path())));
  CHECK(fs::file_size(s.path()) == 4096);
  s.open();
  CHECK(s.breaker.ask() == Verdict::refused);
}

TEST_CASE("remote breaker: a file that is cut short while it is mapped kills nobody") {
  Switch s;
  s.open();
  REQUIRE(::truncate(s.path().c_str(), 0) == 0);
  CHECK(s.breaker.ask() == Verdict::pass);
  s.open();
  CHECK(s.breaker.ask() == Verdict::refused);
}

TEST_CASE("remote breaker: a time from before the machine was started anew is past") {
  Switch s;
  s.open();
  s.set_trial(std::uint64_t{1} << 62U);
  CHECK(s.breaker.ask() == Verdict::trial);
}

TEST_CASE("remote breaker: each server has its own, of which there may be more than rows") {
  Switch s;
  s.open();
  Breaker other(s.root, 0600, seconds(2), "redis://two:6379");
  CHECK(other.ask() == Verdict::pass);
  other.succeeded();
  CHECK(s.breaker.ask() == Verdict::refused);
  for (int i = 0; i < 200; ++i) {
    Breaker one(s.root, 0600, seconds(2), "redis://" + std::to_string(i));
    CHECK(one.ask() == Verdict::pass);
    for (std::uint64_t f = 0; f < Breaker::kFailures; ++f) one.failed(Verdict::pass);
    CHECK(one.ask() == Verdict::refused);
  }
}

TEST_CASE("remote breaker: without a file each process has its own") {
  Switch s;
  fs::create_directory(s.path());
  s.open();
  CHECK(s.breaker.ask() == Verdict::refused);
  CHECK(fs::is_directory(s.path()));
}

TEST_CASE("remote breaker: while it is open a question costs about a microsecond") {
  Switch s;
  s.open();
  constexpr int kQuestions = 10'000;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kQuestions; ++i) static_cast<void>(s.breaker.ask());
  const auto each = (std::chrono::steady_clock::now() - start) / kQuestions;
  INFO(each.count() << " ns");
  CHECK(each < std::chrono::microseconds(50));  // on a machine that is busy and not optimized
}

}  // namespace cachectl::test
