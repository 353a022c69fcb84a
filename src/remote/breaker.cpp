#include "src/remote/breaker.hpp"

#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "lock/staged_file.hpp"
#include "src/checksum.hpp"
#include "src/remote/jitter.hpp"

namespace cachectl::remote {

namespace {

using lock::MappedFile;

constexpr std::uint64_t kBreakerMagic =
    0x326b616572626363U;  // "ccbreak2" in the order of the bytes
constexpr std::size_t kMagicWord = 0;
constexpr std::size_t kServerWord = 0;  // this one and those that follow: of a row
constexpr std::size_t kFailureWord = 1;
constexpr std::size_t kUntilWord = 2;
constexpr std::size_t kTrialWord = 3;
constexpr std::size_t kRows = 64;
constexpr std::size_t kProbes = 8;
constexpr off_t kFileSize = 4096;
/// A cool-down or a trial, with room to spare.
constexpr std::uint64_t kLongestRest = 3600ULL * 1'000'000'000U;
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

std::uint64_t number_of(std::string_view server) {
  return std::max<std::uint64_t>(checksum_of(lock::bytes_of(server)), 1);
}

}  // namespace

Breaker::Breaker(const lock::Directory& root, mode_t file_mode, std::chrono::nanoseconds trial,
                 std::string_view server)
    : root_(&root), file_mode_(file_mode), trial_(trial), server_(number_of(server)) {}

/// Complete before it has its name: a reader sees all of it or none. Where there is none, who
/// comes second leaves it to the first, which may have counted already.
bool Breaker::make(Place place) const {
  const auto staging = root_->ensure_below(kStagingName, 0700, false);
  if (!staging) return false;
  auto file = lock::StagedFile::create(*staging, file_mode_);
  if (!file) return false;
  const std::array<std::uint64_t, kRows * kWords> words{kBreakerMagic};
  static_assert(sizeof words == kFileSize);
  if (!lock::write_all_at(file->descriptor(), std::as_bytes(std::span(words)), 0, file->path())) {
    return false;
  }
  const auto made = place == Place::free ? file->commit_unless_there(*root_, kName)
                                         : file->commit(*root_, kName, lock::Durability::none);
  return made.has_value();
}

/// Null: there is no file to be had.
std::unique_ptr<MappedFile> Breaker::map() const {
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto file = MappedFile::open(*root_, kName, MappedFile::Access::add);
    const auto place = !file.valid() && errno == ENOENT ? Place::free : Place::taken;
    if (file.valid()) {
      auto mapped = MappedFile::map(file.get(), MappedFile::Access::add, 0, kFileSize);
      if (!mapped && errno != ENODEV) return nullptr;
      if (mapped && mapped->status().st_size == kFileSize &&
          mapped->word(kMagicWord).load() == kBreakerMagic) {
        return mapped;
      }
    }
    if (!make(place)) return nullptr;
  }
  return nullptr;
}

const MappedFile* Breaker::mapped() {
  if (alone_.load(std::memory_order_relaxed)) return nullptr;
  const auto* found = current_.load(std::memory_order_acquire);
  if (found != nullptr && found->is_current(*root_, kName)) return found;
  const std::lock_guard guard(mutex_);
  found = current_.load(std::memory_order_acquire);
  if (found != nullptr && found->is_current(*root_, kName)) return found;
  auto made = map();
  if (!made) {
    alone_ = true;
    return nullptr;
  }
  found = all_.emplace_back(std::move(made)).get();
  current_.store(found, std::memory_order_release);
  return found;
}

/// The first word of the row in which a server may be.
std::size_t Breaker::row_at(std::uint64_t server, std::size_t probe) {
  return kWords * (1 + (server + probe) % (kRows - 1));
}

/// The number of its first word.
std::size_t Breaker::row_in(const MappedFile& file) const {
  const auto row = [&](std::size_t probe) { return row_at(server_, probe); };
  for (std::size_t probe = 0; probe < kProbes; ++probe) {
    const auto owner = file.word(row(probe) + kServerWord);
    auto seen = owner.load(std::memory_order_acquire);
    if (seen == 0) owner.compare_exchange_strong(seen, server_);
    // Zero: it was free, and is ours.
    if (seen == 0 || seen == server_) return row(probe);
  }
  for (const auto at : {kFailureWord, kUntilWord, kTrialWord}) file.word(row(0) + at).store(0);
  file.word(row(0) + kServerWord).store(server_);
  return row(0);
}

Breaker::State Breaker::state() {
  const auto* found = mapped();
  const auto row = found != nullptr ? row_in(*found) : 0;
  const auto word = [&](std::size_t at) {
    return found != nullptr ? found->word(row + at) : Word(private_[at]);
  };
  return {word(kFailureWord), word(kUntilWord), word(kTrialWord)};
}

Breaker::Verdict Breaker::ask() {
  const auto until = state().until;
  auto seen = until.load(std::memory_order_acquire);
  if (seen == 0) return Verdict::pass;
  const auto now = now_on_machine();
  const auto furthest = after_now(std::max(kLongestCoolDown, trial_));
  if (seen > now && seen <= furthest) return Verdict::refused;
  // He who changes it is the one that tries.
  return until.compare_exchange_strong(seen, after_now(trial_)) ? Verdict::trial : Verdict::refused;
}

bool Breaker::succeeded() {
  const auto found = state();
  // Looked at before they are written: a page that nobody writes to stays shared.
  for (const auto& number : {found.failures, found.trials}) {
    if (number.load(std::memory_order_relaxed) != 0) number.store(0, std::memory_order_relaxed);
  }
  if (found.until.load(std::memory_order_relaxed) == 0) return false;
  return found.until.exchange(0) != 0;
}

bool Breaker::failed(Verdict verdict) {
  const auto found = state();
  const auto failures = found.failures.fetch_add(1) + 1;
  if (verdict == Verdict::trial) {
    const auto trials = found.trials.fetch_add(1) + 1;
    found.until.store(after_now(jittered(doubled(kFirstCoolDown, trials, kLongestCoolDown))));
    return false;
  }
  if (failures < kFailures) return false;
  std::uint64_t closed = 0;
  return found.until.compare_exchange_strong(closed, after_now(jittered(kFirstCoolDown)));
}

Breaker::Look Breaker::look(const lock::Directory& root, std::string_view name) {
  const auto file = root.open_if_exists(kName, O_RDONLY | O_NONBLOCK);
  std::array<std::uint64_t, kRows * kWords> words{};
  if (!file || !*file) return {};
  const auto got =
      lock::read_full_at((*file)->get(), std::as_writable_bytes(std::span(words)), 0, kName);
  if (!got || *got != sizeof words || words[kMagicWord] != kBreakerMagic) return {};
  const auto server = number_of(name);
  for (std::size_t probe = 0; probe < kProbes; ++probe) {
    const auto row = row_at(server, probe);
    if (words.at(row + kServerWord) != server) continue;
    const auto now = now_on_machine();
    const auto until = words.at(row + kUntilWord);
    // What lies too far ahead is from before the machine was started anew: see ask().
    const bool is_ahead = until > now && until - now <= kLongestRest;
    const auto left = is_ahead ? static_cast<std::int64_t>(until - now) : 0;
    return {until != 0, words.at(row + kFailureWord), std::chrono::nanoseconds(left)};
  }
  return {};
}

std::chrono::nanoseconds Breaker::left() {
  const auto until = state().until.load(std::memory_order_acquire);
  const auto now = now_on_machine();
  if (until <= now) return std::chrono::nanoseconds::zero();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(until - now));
}

}  // namespace cachectl::remote
