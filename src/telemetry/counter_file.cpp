#include "src/telemetry/counter_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lock/staged_file.hpp"
#include "src/key.hpp"

namespace cachectl::telemetry {

namespace {

using lock::MappedFile;

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kMagic = 0x6c74636568636163U;  // "cachectl" in the order of the bytes

// Words of the head.
constexpr std::size_t kMade = 4;
constexpr std::size_t kTouched = 5;  // always 0
constexpr std::size_t kHashes = 64;
constexpr std::size_t kHeadWords = kHashes + CounterFile::kRows;
static_assert(kHeadWords * kWord == CounterFile::kHeadSize);

// Words of a row.
constexpr std::size_t kNameLength = 0;
constexpr std::size_t kNameText = 1;
constexpr std::size_t kFirstCounter = kNameText + Row::kNameKept / kWord;
constexpr std::size_t kFirstTiming = kFirstCounter + kCounters.size();
constexpr std::size_t kTimingWords = 1 + kBuckets;
static_assert((kFirstTiming + kTimings.size() * kTimingWords) * kWord <= CounterFile::kRowSize);

constexpr std::size_t start_of(std::size_t row) {
  return (CounterFile::kHeadSize + row * CounterFile::kRowSize) / kWord;
}

/// Where store::Root stages its files, too.
constexpr const char* kStaging = "tmp";

std::uint64_t hash_of(std::string_view name) {
  return std::max<std::uint64_t>(KeyHash::of(name).low, 1);
}

/// A new file with no counts, complete but for its name.
Result<lock::StagedFile> make(const lock::Directory& staging, mode_t mode) {
  CACHECTL_ASSIGN(auto file, lock::StagedFile::create(staging, mode));
  // All of it now: a full disk must not show when a page is first touched.
  const int refused = ::posix_fallocate(file.descriptor(), 0, CounterFile::kSize);
  if (refused != 0) return fail(system_error("allocate " + file.path(), refused));
  const auto since = SystemClock().now().time_since_epoch().count();
  const std::array<std::uint64_t, 5> head{kMagic, CounterFile::kVersion, table_signature(),
                                          CounterFile::kSize, static_cast<std::uint64_t>(since)};
  CACHECTL_TRY(
      lock::write_all_at(file.descriptor(), std::as_bytes(std::span(head)), 0, file.path()));
  return file;
}

/// Gives a new file its name where there is none. Whoever comes second leaves it to the first.
Result<void> create(const lock::Directory& root, mode_t mode) {
  CACHECTL_ASSIGN(const auto staging, root.open_below(kStaging));
  CACHECTL_ASSIGN(auto file, make(staging, mode));
  return file.commit_unless_there(root, CounterFile::kName);
}

/// Where the file could not be opened, for the reason `why`. False: nothing can be done.
bool make_way(const lock::Directory& root, mode_t mode, int why) {
  if (why == ENOENT) return create(root, mode).has_value();
  const bool is_no_file = why == ELOOP || why == ENXIO || why == EISDIR;  // a link, a socket
  return is_no_file && CounterFile::replace(root, mode).has_value();
}

enum class Verdict { good, bad, later };

/// Of the first page. A page that is not there is one of zeroes.
Verdict judge_head(const MappedFile* mapped) {
  if (mapped == nullptr) return Verdict::bad;
  const auto word = [&](std::size_t at) { return mapped->word(at).load(); };
  if (word(0) != kMagic || mapped->is_tripped()) return Verdict::bad;
  if (word(1) > CounterFile::kVersion) return Verdict::later;
  const bool ours = word(1) == CounterFile::kVersion && word(2) == table_signature() &&
                    word(3) == CounterFile::kSize;
  return ours ? Verdict::good : Verdict::bad;
}

Verdict judge(const MappedFile* mapped) {
  const auto head = judge_head(mapped);
  if (head != Verdict::good) return head;
  return mapped->status().st_size == off_t{CounterFile::kSize} ? head : Verdict::bad;
}

/// Whether a hit, which sees the first page only, is one of those that look at the whole file: one
/// in 64.
bool is_examined(const MappedFile& mapped) {
  return mapped.word(start_of(0) + kFirstCounter + index_of(Counter::hits)).load() % 64 == 0;
}

}  // namespace

bool CounterFile::is_in_first_page(std::chrono::nanoseconds hit) {
  static_assert((start_of(0) + kFirstTiming) * kWord <= kPage);
  const auto bucket = kFirstTiming + index_of(Timing::hit) * kTimingWords + 1 + bucket_of(hit);
  return (start_of(0) + bucket) * kWord < kPage;
}

std::optional<CounterFile> CounterFile::open(const lock::Directory& root, mode_t file_mode,
                                             Extent extent) {
  // Once more after each repair, which may be another's.
  constexpr int kAttempts = 4;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto file = MappedFile::open(root, kName, MappedFile::Access::add);
    if (!file.valid()) {
      if (!make_way(root, file_mode, errno)) return std::nullopt;
      continue;
    }
    const bool is_part = extent == Extent::first_page;
    auto mapped = is_part ? MappedFile::map_unseen(file.get(), MappedFile::Access::add, kPage)
                          : MappedFile::map(file.get(), MappedFile::Access::add, 0, kSize);
    // A page that is written first is faulted in once, and not once more for writing.
    if (mapped) mapped->word(kTouched).fetch_or(0, std::memory_order_relaxed);
    const auto verdict = is_part ? judge_head(mapped.get()) : judge(mapped.get());
    if (verdict == Verdict::good && !(is_part && is_examined(*mapped))) {
      return CounterFile(std::move(mapped));
    }
    extent = Extent::whole;  // which says more
    if (is_part) continue;
    if (verdict == Verdict::later) return std::nullopt;
    // Replaced by one only: who comes second would put an empty one in the place of one that
    // has counts already. The lock is on what is to go, so that no reader needs it.
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return std::nullopt;
    lock::FileLock lock(std::move(file), root.path_of(CounterFile::kName));
    const auto locked = lock.lock({0, 0}, lock::Mode::exclusive, lock::Deadline::immediately());
    if (!locked || !*locked) return std::nullopt;
    const auto named = root.status(CounterFile::kName);
    const bool is_there = named && *named && lock::same_file(**named, status);
    if (is_there && !replace(root, file_mode)) return std::nullopt;
  }
  return std::nullopt;
}

std::optional<CounterFile> CounterFile::look(const lock::Directory& root) {
  const auto file = MappedFile::open(root, kName, MappedFile::Access::look);
  if (!file.valid()) return std::nullopt;
  auto mapped = MappedFile::map(file.get(), MappedFile::Access::look, 0, kSize);
  if (judge(mapped.get()) != Verdict::good) return std::nullopt;
  return CounterFile(std::move(mapped));
}

Result<void> CounterFile::replace(const lock::Directory& root, mode_t file_mode) {
  CACHECTL_ASSIGN(const auto staging, root.open_below(kStaging));
  CACHECTL_ASSIGN(auto file, make(staging, file_mode));
  return file.commit(root, CounterFile::kName, lock::Durability::none);
}

bool CounterFile::is_current(const lock::Directory& root) const {
  return mapped_->is_current(root, kName);
}

std::uint64_t CounterFile::load(std::size_t index) const {
  return mapped_->word(index).load(std::memory_order_acquire);
}

WallTime CounterFile::since() const {
  return WallTime(std::chrono::nanoseconds(static_cast<std::int64_t>(load(kMade))));
}

/// Whether a row has this name. Who finds none writes it: all write the same.
bool CounterFile::is_named(std::size_t row, std::string_view name) {
  const auto start = start_of(row);
  const auto kept = name.substr(0, Row::kNameKept);
  std::array<std::uint64_t, Row::kNameKept / kWord> words{};
  std::memcpy(words.data(), kept.data(), kept.size());
  const auto known = load(start + kNameLength);
  if (known != 0 && known != kept.size()) return false;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const auto stored = mapped_->word(start + kNameText + at);
    if (known == 0) stored.store(words[at], std::memory_order_relaxed);
    if (known != 0 && stored.load(std::memory_order_relaxed) != words[at]) return false;
  }
  if (known == 0) mapped_->word(start + kNameLength).store(kept.size(), std::memory_order_release);
  return true;
}

std::size_t CounterFile::row_of(std::string_view name) {
  if (name.empty()) return 0;
  const auto hash = hash_of(name);
  constexpr std::size_t kNamed = kRows - 1;
  for (std::size_t step = 0; step < kNamed; ++step) {
    const auto row = 1 + (hash + step) % kNamed;
    auto found = load(kHashes + row);
    // Where it fails, it says who was there before us.
    if (found == 0 && mapped_->word(kHashes + row).compare_exchange_strong(found, hash)) {
      found = hash;
    }
    if (found == hash) return is_named(row, name) ? row : 0;
  }
  return 0;
}

bool CounterFile::add(std::size_t row, Counter counter, std::uint64_t number) {
  mapped_->word(start_of(row) + kFirstCounter + index_of(counter))
      .fetch_add(number, std::memory_order_relaxed);
  return !mapped_->is_tripped();
}

bool CounterFile::add(std::size_t row, Timing timing, std::chrono::nanoseconds duration) {
  const auto first = start_of(row) + kFirstTiming + index_of(timing) * kTimingWords;
  const auto length = std::max<std::int64_t>(duration.count(), 0);
  mapped_->word(first).fetch_add(static_cast<std::uint64_t>(length), std::memory_order_relaxed);
  mapped_->word(first + 1 + bucket_of(duration)).fetch_add(1, std::memory_order_relaxed);
  return !mapped_->is_tripped();
}

Row CounterFile::read_row(std::size_t number) const {
  const auto start = start_of(number);
  Row row;
  std::array<std::uint64_t, Row::kNameKept / kWord> name{};
  row.name.resize(std::min<std::uint64_t>(load(start + kNameLength), Row::kNameKept));
  for (std::size_t at = 0; at < name.size(); ++at) name[at] = load(start + kNameText + at);
  std::memcpy(row.name.data(), name.data(), row.name.size());
  for (std::size_t at = 0; at < kCounters.size(); ++at) {
    row.counters[at] = load(start + kFirstCounter + at);
  }
  for (std::size_t at = 0; at < kTimings.size(); ++at) {
    const auto first = start + kFirstTiming + at * kTimingWords;
    row.timings[at].sum = load(first);
    for (std::size_t each = 0; each < kBuckets; ++each) {
      row.timings[at].buckets[each] = load(first + 1 + each);
    }
  }
  return row;
}

std::vector<Row> CounterFile::rows() const {
  std::vector<Row> found;
  for (std::size_t number = 0; number < kRows; ++number) {
    if (number > 0 && load(kHashes + number) == 0) continue;
    auto row = read_row(number);
    if (mapped_->is_tripped()) return {};
    if (number == 0 || !row.name.empty()) found.push_back(std::move(row));  // else its maker died
  }
  return found;
}

}  // namespace cachectl::telemetry
