// Creation and clean-up of staging files against each other, many times.
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>
#include <vector>

#include "lock/staged_file.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::lock {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using test::Forked;
using test::Link;
using test::TempDirectory;

constexpr int kFiles = 2500;  // of each of four creators

/// Removes what looks abandoned until `done`; the last failure, if there was one.
std::string sweep(const Directory& staging, const std::function<bool()>& done) {
  std::string failure = "none";
  while (!done()) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(staging.path(), ignored)) {
      const auto fate = remove_if_abandoned(staging, entry.path().filename().string(), false);
      if (!fate) failure = fate.error().describe();
    }
    // There, whoever looks at a locked file costs a descriptor until its release.
    if (!backend.survives_close) std::this_thread::sleep_for(milliseconds(5));
  }
  return failure;
}

/// Creates and publishes over and over; how many live files were lost.
int create_and_publish(const Directory& staging, const Directory& target, const std::string& name) {
  int lost = 0;
  for (int i = 0; i < kFiles; ++i) {
    auto file = StagedFile::create(staging, 0600);
    if (!file || !file->commit(target, name, Durability::none)) ++lost;
  }
  return lost;
}

}  // namespace

TEST_CASE("clean-up: racing creation 10,000 times in processes loses no live file") {
  const TempDirectory directory;
  const TempDirectory published;
  const auto staging = directory.open();
  const auto target = published.open();
  std::vector<Forked> sweepers;
  for (int i = 0; i < 2; ++i) {
    sweepers.emplace_back([&](const Link& link) {
      link.say(sweep(staging, [&] { return link.hear(milliseconds(0)) != "(silence)"; }));
      return 0;
    });
  }
  std::vector<Forked> creators;
  for (int i = 0; i < 4; ++i) {
    creators.emplace_back([&, i](const Link& link) {
      link.say(std::to_string(create_and_publish(staging, target, std::to_string(i))));
      return 0;
    });
  }
  for (auto& creator : creators) CHECK(creator.hear() == "0");
  for (auto& sweeper : sweepers) {
    sweeper.say("done");
    CHECK(sweeper.hear() == "none");
  }
  CHECK(directory.count() == 0);
  CHECK(published.count() == 4);
}

TEST_CASE("clean-up: racing creation 10,000 times in threads loses no live file") {
  const TempDirectory directory;
  const TempDirectory published;
  const auto staging = directory.open();
  const auto target = published.open();
  std::atomic<int> lost = 0;
  std::string failure;
  std::atomic<int> running = 4;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      lost += create_and_publish(staging, target, std::to_string(i));
      --running;
    });
  }
  threads.emplace_back([&] { failure = sweep(staging, [&] { return running == 0; }); });
  for (auto& thread : threads) thread.join();
  CHECK(lost == 0);
  CHECK(failure == "none");
  CHECK(directory.count() == 0);
  CHECK(published.count() == 4);
}

}  // namespace cachectl::lock
