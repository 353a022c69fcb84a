#include "lock/mapping_guard.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "lock/fd.hpp"
#include "lock/signals.hpp"
#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

using lock::MappingGuard;

namespace {

/// Two pages of a file, mapped; the file has none any more.
class Gone {
 public:
  Gone() {
    write_file(directory_.file("mapped"), std::string(2 * kPage, 'x'));
    const lock::Fd file(::open(directory_.file("mapped").c_str(), O_RDWR | O_CLOEXEC));
    start_ = static_cast<char*>(
        ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
    REQUIRE(start_ != MAP_FAILED);
    REQUIRE(::ftruncate(file.get(), 0) == 0);
  }
  ~Gone() { ::munmap(start_, 2 * kPage); }
  Gone(const Gone&) = delete;
  Gone& operator=(const Gone&) = delete;

  static constexpr std::size_t kPage = 4096;
  [[nodiscard]] volatile char* start() const { return start_; }

 private:
  TempDirectory directory_;
  char* start_;
};

/// How a fork ends that does this; 0: it lives through it.
template <typename Work>
int ending(Work work) {
  Forked child([&](const Link&) {
    work();
    return 0;
  });
  return child.wait();
}

}  // namespace

TEST_CASE("mapping guard: threads that take no signals live through it, too") {
  const Gone gone;
  CHECK(ending([&] {
          const MappingGuard guard(const_cast<char*>(gone.start()), 2 * Gone::kPage);
          std::thread thread;
          {
            const lock::SignalsBlocked blocked;
            thread = std::thread([&] { *gone.start() = 'y'; });
          }
          thread.join();
          if (!guard.is_tripped()) ::_exit(9);
        }) == 0);
}

TEST_CASE("mapping guard: pages that are gone read as zeroes, take what is written, and are told") {
  const Gone gone;
  const MappingGuard guard(const_cast<char*>(gone.start()), 2 * Gone::kPage);
  REQUIRE(guard.is_set());
  CHECK_FALSE(guard.is_tripped());
  CHECK(gone.start()[100] == 0);
  CHECK(guard.is_tripped());
  gone.start()[Gone::kPage] = 'y';
  CHECK(gone.start()[Gone::kPage] == 'y');
}

TEST_CASE("mapping guard: threads that meet missing pages at once all go on") {
  for (int round = 0; round < 50; ++round) {
    const Gone gone;
    const MappingGuard guard(const_cast<char*>(gone.start()), 2 * Gone::kPage);
    std::vector<std::thread> threads;
    for (const std::size_t page : {std::size_t{0}, std::size_t{1}}) {
      threads.emplace_back([&gone, page] {
        for (std::size_t at = 0; at < Gone::kPage; at += 64) {
          gone.start()[page * Gone::kPage + at] = 'y';
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(guard.is_tripped());
    CHECK(gone.start()[2 * Gone::kPage - 64] == 'y');
  }
}

TEST_CASE("mapping guard: what is no fault of a guarded mapping ends the process as ever") {
  const Gone gone;
  const Gone other;
  const MappingGuard guard(const_cast<char*>(gone.start()), 2 * Gone::kPage);
  CHECK(ending([&] { gone.start()[0] = 'y'; }) == 0);
  CHECK(ending([&] { other.start()[0] = 'y'; }) != 0);
  CHECK(ending([] { ::raise(SIGBUS); }) != 0);
}

TEST_CASE("mapping guard: one that is gone guards no more, and leaves its place to another") {
  const Gone gone;
  for (int round = 0; round < 100; ++round) {
    const MappingGuard guard(const_cast<char*>(gone.start()), 2 * Gone::kPage);
    REQUIRE(guard.is_set());
  }
  std::vector<std::unique_ptr<MappingGuard>> guards;
  const Gone last;
  while (guards.empty() || guards.back()->is_set()) {
    REQUIRE(guards.size() < 1000);
    guards.push_back(std::make_unique<MappingGuard>(const_cast<char*>(last.start()), 1));
  }
  CHECK(guards.size() > 16);
  CHECK(ending([&] { gone.start()[0] = 'y'; }) != 0);
}

}  // namespace cachectl::test
