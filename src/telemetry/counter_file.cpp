#include "src/telemetry/counter_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/interprocess/exceptions.hpp>
#include <cstring>

#include "lock/retry.hpp"
#include "lock/staged_file.hpp"
#include "src/key.hpp"

// Since Linux 5.14; the headers may be older.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace cachectl::telemetry {

namespace {

using boost::interprocess::mapped_region;
using Atomic = std::atomic_ref<std::uint64_t>;
static_assert(Atomic::is_always_lock_free);

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kMagic = 0x6c74636568636163U;  // "cachectl" in the order of the bytes

// Words of page 0.
constexpr std::size_t kHashes = 64;
constexpr std::size_t kHeadWords = kHashes + CounterFile::kRows;

// Words of a row.
constexpr std::size_t kNameLength = 0;
constexpr std::size_t kNameText = 1;
constexpr std::size_t kFirstCounter = kNameText + Row::kNameKept / kWord;
constexpr std::size_t kFirstTiming = kFirstCounter + kCounters.size();
constexpr std::size_t kTimingWords = 1 + kBuckets;
static_assert((kFirstTiming + kTimings.size() * kTimingWords) * kWord <= CounterFile::kRowSize);

constexpr std::size_t start_of(std::size_t row) {
  return (CounterFile::kPage + row * CounterFile::kRowSize) / kWord;
}

/// Where store::Root stages its files, too.
constexpr const char* kStaging = "tmp";

std::uint64_t hash_of(std::string_view name) {
  return std::max<std::uint64_t>(KeyHash::of(name).low, 1);
}

/// What Boost.Interprocess can map: a descriptor of ours.
class Mappable {
 public:
  explicit Mappable(int descriptor) : descriptor_(descriptor) {}
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return {descriptor_, false};
  }

 private:
  int descriptor_;
};

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
  if (::linkat(staging.descriptor(), file.name().c_str(), root.descriptor(), CounterFile::kName,
               0) == 0 ||
      errno == EEXIST) {
    return {};
  }
  // A file system without links.
  return file.commit(root, CounterFile::kName, lock::Durability::none);
}

}  // namespace

struct CounterFile::Head {
  std::array<std::uint64_t, kHeadWords> words{};
};

CounterFile::CounterFile(const struct stat& status, const Head& head,
                         std::unique_ptr<mapped_region> region)
    : device_(status.st_dev),
      inode_(status.st_ino),
      since_(std::chrono::nanoseconds(static_cast<std::int64_t>(head.words[4]))),
      region_(std::move(region)) {
  std::copy_n(head.words.begin() + kHashes, kRows, hashes_.begin());
}

CounterFile::Verdict CounterFile::judge(int descriptor, struct stat& status, Head& head) {
  if (lock::retry([&] { return ::fstat(descriptor, &status); }) != 0 || !S_ISREG(status.st_mode)) {
    return Verdict::bad;
  }
  const auto got = lock::read_full_at(descriptor, std::as_writable_bytes(std::span(head.words)), 0,
                                      CounterFile::kName);
  if (!got || *got != sizeof head.words || head.words[0] != kMagic) return Verdict::bad;
  if (head.words[1] > kVersion) return Verdict::later;
  const bool ours = head.words[1] == kVersion && head.words[2] == table_signature() &&
                    head.words[3] == kSize && status.st_size == off_t{kSize};
  return ours ? Verdict::good : Verdict::bad;
}

std::optional<CounterFile> CounterFile::map(int descriptor, const struct stat& status,
                                            const Head& head, Access access) {
  try {
    const auto mode =
        access == Access::add ? boost::interprocess::read_write : boost::interprocess::read_only;
    return CounterFile(status, head,
                       std::make_unique<mapped_region>(Mappable(descriptor), mode, 0, kSize));
  } catch (const boost::interprocess::interprocess_exception&) {
    return std::nullopt;
  }
}

std::optional<CounterFile> CounterFile::open(const lock::Directory& root, mode_t file_mode) {
  // Once more after each repair, which may be another's.
  constexpr int kAttempts = 4;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // One name, so that this is as safe as Directory::open_file and half the price; who fails
    // asks that for the reason.
    Result<lock::Fd> file(lock::Fd(::openat(
        root.descriptor(), kName, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC)));
    if (!file->valid()) file = root.open_file(kName, O_RDWR | O_NONBLOCK);
    if (!file) {
      const int why = file.error().system_error;
      if (why == ENOENT) {
        if (!create(root, file_mode)) return std::nullopt;
      } else if (why == ELOOP || why == EXDEV || why == ENXIO) {  // a link, a socket
        if (!replace(root, file_mode)) return std::nullopt;
      } else {
        return std::nullopt;
      }
      continue;
    }
    struct stat status {};
    Head head;
    const auto verdict = judge(file->get(), status, head);
    if (verdict == Verdict::good) return map(file->get(), status, head, Access::add);
    if (verdict == Verdict::later) return std::nullopt;
    // Replaced by one only: who comes second would put an empty one in the place of one that
    // has counts already. The lock is on what is to go, so that no reader needs it.
    lock::FileLock lock(std::move(*file), root.path_of(CounterFile::kName));
    const auto locked = lock.lock({0, 0}, lock::Mode::exclusive, lock::Deadline::immediately());
    if (!locked || !*locked) return std::nullopt;
    const auto named = root.status(CounterFile::kName);
    const bool is_there = named && *named && lock::same_file(**named, status);
    if (is_there && !replace(root, file_mode)) return std::nullopt;
  }
  return std::nullopt;
}

std::optional<CounterFile> CounterFile::look(const lock::Directory& root) {
  const auto file = root.open_file(CounterFile::kName, O_RDONLY | O_NONBLOCK);
  if (!file) return std::nullopt;
  struct stat status {};
  Head head;
  if (judge(file->get(), status, head) != Verdict::good) return std::nullopt;
  return map(file->get(), status, head, Access::look);
}

Result<void> CounterFile::replace(const lock::Directory& root, mode_t file_mode) {
  CACHECTL_ASSIGN(const auto staging, root.open_below(kStaging));
  CACHECTL_ASSIGN(auto file, make(staging, file_mode));
  return file.commit(root, CounterFile::kName, lock::Durability::none);
}

bool CounterFile::is_current(const lock::Directory& root) const {
  const auto named = root.status(CounterFile::kName);
  return named && *named && (*named)->st_ino == inode_ && (*named)->st_dev == device_ &&
         (*named)->st_size == off_t{kSize};
}

std::uint64_t* CounterFile::word(std::size_t index) const {
  return static_cast<std::uint64_t*>(region_->get_address()) + index;
}

/// A word whose page can be touched; null: it cannot.
std::uint64_t* CounterFile::writable(std::size_t index) {
  const auto page = index * kWord / kPage;
  auto* const found = word(index);
  if (faulted_in_[page]) return found;
  auto* const start = word(page * kPage / kWord);
  // An older kernel does not know how to: then the touch will.
  if (::madvise(start, kPage, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) return nullptr;
  faulted_in_.set(page);
  return found;
}

/// Whether a row has this name. Who finds none writes it: all write the same.
bool CounterFile::is_named(std::size_t row, std::string_view name) {
  const auto start = start_of(row);
  const auto kept = name.substr(0, Row::kNameKept);
  auto* const length = writable(start + kNameLength);
  if (length == nullptr) return false;
  std::array<std::uint64_t, Row::kNameKept / kWord> words{};
  std::memcpy(words.data(), kept.data(), kept.size());
  const auto known = Atomic(*length).load(std::memory_order_acquire);
  if (known != 0 && known != kept.size()) return false;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const Atomic stored(*word(start + kNameText + at));
    if (known == 0) stored.store(words[at], std::memory_order_relaxed);
    if (known != 0 && stored.load(std::memory_order_relaxed) != words[at]) return false;
  }
  if (known == 0) Atomic(*length).store(kept.size(), std::memory_order_release);
  return true;
}

std::size_t CounterFile::row_of(std::string_view name) {
  if (name.empty()) return 0;
  const auto hash = hash_of(name);
  constexpr std::size_t kNamed = kRows - 1;
  for (std::size_t step = 0; step < kNamed; ++step) {
    const auto row = 1 + (hash + step) % kNamed;
    if (hashes_[row] == 0) {
      auto* const place = writable(kHashes + row);
      if (place == nullptr) return 0;
      // Where it fails, it says who was there before us.
      if (Atomic(*place).compare_exchange_strong(hashes_[row], hash)) hashes_[row] = hash;
    }
    if (hashes_[row] == hash) return is_named(row, name) ? row : 0;
  }
  return 0;
}

bool CounterFile::add(std::size_t row, Counter counter, std::uint64_t number) {
  auto* const place = writable(start_of(row) + kFirstCounter + index_of(counter));
  if (place == nullptr) return false;
  Atomic(*place).fetch_add(number, std::memory_order_relaxed);
  return true;
}

bool CounterFile::add(std::size_t row, Timing timing, std::chrono::nanoseconds duration) {
  const auto first = start_of(row) + kFirstTiming + index_of(timing) * kTimingWords;
  auto* const sum = writable(first);
  auto* const bucket = writable(first + 1 + bucket_of(duration));
  if (sum == nullptr || bucket == nullptr) return false;
  const auto length = std::max<std::int64_t>(duration.count(), 0);
  Atomic(*sum).fetch_add(static_cast<std::uint64_t>(length), std::memory_order_relaxed);
  Atomic(*bucket).fetch_add(1, std::memory_order_relaxed);
  return true;
}

std::vector<Row> CounterFile::rows() const {
  std::vector<Row> found;
  const auto read = [this](std::size_t index) {
    return Atomic(*word(index)).load(std::memory_order_relaxed);
  };
  const auto can_read = [this](std::size_t index, std::size_t size) {
    return ::madvise(word(index), size, MADV_POPULATE_READ) == 0 || errno == EINVAL;
  };
  if (!can_read(0, kPage)) return found;
  for (std::size_t number = 0; number < kRows; ++number) {
    if (number > 0 && read(kHashes + number) == 0) continue;
    const auto start = start_of(number);
    if (!can_read(start, kRowSize)) break;
    const auto length = Atomic(*word(start + kNameLength)).load(std::memory_order_acquire);
    if (number > 0 && length == 0) continue;  // claimed by one who has died since
    Row row;
    std::array<std::uint64_t, Row::kNameKept / kWord> name{};
    for (std::size_t at = 0; at < name.size(); ++at) name[at] = read(start + kNameText + at);
    row.name.resize(std::min<std::uint64_t>(length, Row::kNameKept));
    std::memcpy(row.name.data(), name.data(), row.name.size());
    for (std::size_t at = 0; at < kCounters.size(); ++at) {
      row.counters[at] = read(start + kFirstCounter + at);
    }
    for (std::size_t at = 0; at < kTimings.size(); ++at) {
      const auto first = start + kFirstTiming + at * kTimingWords;
      row.timings[at].sum = read(first);
      for (std::size_t each = 0; each < kBuckets; ++each) {
        row.timings[at].buckets[each] = read(first + 1 + each);
      }
    }
    found.push_back(std::move(row));
  }
  return found;
}

}  // namespace cachectl::telemetry
