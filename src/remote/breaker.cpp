#include "src/remote/breaker.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "lock/staged_file.hpp"
#include "src/remote/jitter.hpp"

namespace cachectl::remote {

namespace {

using Shared = std::atomic_ref<std::uint64_t>;
static_assert(Shared::is_always_lock_free);

constexpr std::uint64_t kBreakerMagic =
    0x316b616572626363U;  // "ccbreak1" in the order of the bytes
constexpr std::size_t kMagicWord = 0;
constexpr std::size_t kFailureWord = 1;
constexpr std::size_t kUntilWord = 2;
constexpr std::size_t kTrialWord = 3;
constexpr off_t kFileSize = 64;
constexpr const char* kStagingName = "tmp";

std::uint64_t now_on_machine() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t after_now(std::chrono::nanoseconds pause) {
  return now_on_machine() + static_cast<std::uint64_t>(pause.count());
}

}  // namespace

Breaker::~Breaker() {
  for (auto* mapping : all_) {
    ::munmap(mapping->words, kFileSize);
    delete mapping;
  }
}

bool Breaker::is_current(const Mapping& mapping) const {
  struct stat status {};
  return ::fstatat(root_->descriptor(), kName, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         status.st_ino == mapping.inode && status.st_dev == mapping.device &&
         status.st_size == kFileSize;
}

/// Complete before it has its name: a reader sees all of it or none. Where there is none, who
/// comes second leaves it to the first, which may have counted already.
bool Breaker::make(Place place) const {
  const auto staging = root_->ensure_below(kStagingName, 0700, false);
  if (!staging) return false;
  auto file = lock::StagedFile::create(*staging, file_mode_);
  if (!file) return false;
  const std::array<Word, kWords> words{kBreakerMagic};
  if (!lock::write_all_at(file->descriptor(), std::as_bytes(std::span(words)), 0, file->path())) {
    return false;
  }
  if (place == Place::free) {
    const auto name = file->name();
    if (::linkat(staging->descriptor(), name.c_str(), root_->descriptor(), kName, 0) == 0 ||
        errno == EEXIST) {
      return true;
    }
  }
  return file->commit(*root_, kName, lock::Durability::none).has_value();
}

Breaker::Mapping* Breaker::map() {
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const lock::Fd file(::openat(root_->descriptor(), kName,
                                 O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC));
    const auto named = !file.valid() && errno == ENOENT ? Place::free : Place::taken;
    struct stat status {};
    Word magic = 0;
    if (file.valid() && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode) &&
        status.st_size == kFileSize &&
        ::pread(file.get(), &magic, sizeof magic, 0) == sizeof magic && magic == kBreakerMagic) {
      void* place = ::mmap(nullptr, kFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
      if (place == MAP_FAILED) return nullptr;
      auto* mapping = new Mapping{static_cast<Word*>(place), status.st_dev, status.st_ino};
      all_.push_back(mapping);
      return mapping;
    }
    if (!make(named)) return nullptr;
  }
  return nullptr;
}

Breaker::Word* Breaker::words() {
  if (alone_.load(std::memory_order_relaxed)) return private_.data();
  auto* mapping = current_.load(std::memory_order_acquire);
  if (mapping != nullptr && is_current(*mapping)) return mapping->words;
  const std::lock_guard guard(mutex_);
  mapping = current_.load(std::memory_order_acquire);
  if (mapping == nullptr || !is_current(*mapping)) {
    mapping = map();
    current_.store(mapping, std::memory_order_release);
    if (mapping == nullptr) alone_ = true;
  }
  return mapping != nullptr ? mapping->words : private_.data();
}

Breaker::Verdict Breaker::ask() {
  auto* const found = words();
  const Shared until(found[kUntilWord]);
  auto seen = until.load(std::memory_order_acquire);
  if (seen == 0) return Verdict::pass;
  const auto now = now_on_machine();
  const auto furthest = after_now(std::max(kLongestCoolDown, trial_));
  if (seen > now && seen <= furthest) return Verdict::refused;
  // He who changes it is the one that tries.
  return until.compare_exchange_strong(seen, after_now(trial_)) ? Verdict::trial : Verdict::refused;
}

bool Breaker::succeeded() {
  auto* const found = words();
  // Looked at before they are written: a page that nobody writes to stays shared.
  for (const auto word : {kFailureWord, kTrialWord}) {
    const Shared number(found[word]);
    if (number.load(std::memory_order_relaxed) != 0) number.store(0, std::memory_order_relaxed);
  }
  const Shared until(found[kUntilWord]);
  if (until.load(std::memory_order_relaxed) == 0) return false;
  return until.exchange(0) != 0;
}

bool Breaker::failed(Verdict verdict) {
  auto* const found = words();
  const Shared until(found[kUntilWord]);
  const auto failures = Shared(found[kFailureWord]).fetch_add(1) + 1;
  if (verdict == Verdict::trial) {
    const auto trials = Shared(found[kTrialWord]).fetch_add(1) + 1;
    until.store(after_now(jittered(doubled(kFirstCoolDown, trials, kLongestCoolDown))));
    return false;
  }
  if (failures < kFailures) return false;
  Word closed = 0;
  return until.compare_exchange_strong(closed, after_now(jittered(kFirstCoolDown)));
}

std::chrono::nanoseconds Breaker::left() {
  const auto until = Shared(words()[kUntilWord]).load(std::memory_order_acquire);
  const auto now = now_on_machine();
  if (until <= now) return std::chrono::nanoseconds::zero();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(until - now));
}

}  // namespace cachectl::remote
