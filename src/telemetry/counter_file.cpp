#include "src/telemetry/counter_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cstring>

#include "lock/retry.hpp"
#include "lock/staged_file.hpp"
#include "src/key.hpp"
#include "src/telemetry/mapping_guard.hpp"

namespace cachectl::telemetry {

namespace {

using boost::interprocess::mapped_region;
using Atomic = std::atomic_ref<std::uint64_t>;
static_assert(Atomic::is_always_lock_free);

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

struct CounterFile::Mapped {
  Mapped(int descriptor, boost::interprocess::mode_t mode, const void* near)
      : region(Mappable(descriptor), mode, 0, kSize, near), guard(region.get_address(), kSize) {}

  mapped_region region;
  MappingGuard guard;
  struct stat status {};
};

/// Null: it cannot be mapped.
std::shared_ptr<CounterFile::Mapped> CounterFile::map(int descriptor, Access access) {
  namespace ipc = boost::interprocess;
  // Above the heap, with room for it to grow: most of the tables of pages that an address needs
  // are there already, and a short process is spared to make and to free them.
  constexpr std::uintptr_t kRoom = std::uintptr_t{64} << 20U;
  const auto above_heap = (reinterpret_cast<std::uintptr_t>(::sbrk(0)) + kRoom) / kPage * kPage;
  for (const auto near : {above_heap, std::uintptr_t{0}}) {
    try {
      auto mapped = std::make_shared<Mapped>(
          descriptor, access == Access::add ? ipc::read_write : ipc::read_only,
          reinterpret_cast<const void*>(near));
      return mapped->guard.is_set() ? mapped : nullptr;
    } catch (const ipc::interprocess_exception&) {
      // Taken, or it cannot be mapped anywhere.
    }
  }
  return nullptr;
}

CounterFile::Verdict CounterFile::judge(int descriptor, Mapped* mapped) {
  if (mapped == nullptr) return Verdict::bad;
  auto& status = mapped->status;
  if (lock::retry([&] { return ::fstat(descriptor, &status); }) != 0 || !S_ISREG(status.st_mode) ||
      status.st_size < off_t{kHeadSize}) {
    return Verdict::bad;
  }
  auto* const words = static_cast<std::uint64_t*>(mapped->region.get_address());
  // A page that is written first is faulted in once, and not once more for writing.
  if (mapped->region.get_mode() == boost::interprocess::read_write) {
    Atomic(words[kTouched]).fetch_or(0, std::memory_order_relaxed);
  }
  const auto word = [&](std::size_t at) { return Atomic(words[at]).load(); };
  if (word(0) != kMagic || mapped->guard.is_tripped()) return Verdict::bad;
  if (word(1) > kVersion) return Verdict::later;
  const bool ours = word(1) == kVersion && word(2) == table_signature() && word(3) == kSize &&
                    status.st_size == off_t{kSize};
  return ours ? Verdict::good : Verdict::bad;
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
    auto mapped = map(file->get(), Access::add);
    const auto verdict = judge(file->get(), mapped.get());
    if (verdict == Verdict::good) return CounterFile(std::move(mapped));
    if (verdict == Verdict::later) return std::nullopt;
    // Replaced by one only: who comes second would put an empty one in the place of one that
    // has counts already. The lock is on what is to go, so that no reader needs it.
    struct stat status {};
    if (::fstat(file->get(), &status) != 0) return std::nullopt;
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
  auto mapped = map(file->get(), Access::look);
  if (judge(file->get(), mapped.get()) != Verdict::good) return std::nullopt;
  return CounterFile(std::move(mapped));
}

Result<void> CounterFile::replace(const lock::Directory& root, mode_t file_mode) {
  CACHECTL_ASSIGN(const auto staging, root.open_below(kStaging));
  CACHECTL_ASSIGN(auto file, make(staging, file_mode));
  return file.commit(root, CounterFile::kName, lock::Durability::none);
}

bool CounterFile::is_current(const lock::Directory& root) const {
  const auto named = root.status(CounterFile::kName);
  return named && *named && lock::same_file(**named, mapped_->status) &&
         (*named)->st_size == off_t{kSize};
}

std::uint64_t* CounterFile::word(std::size_t index) const {
  return static_cast<std::uint64_t*>(mapped_->region.get_address()) + index;
}

std::uint64_t CounterFile::load(std::size_t index) const {
  return Atomic(*word(index)).load(std::memory_order_acquire);
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
    const Atomic stored(*word(start + kNameText + at));
    if (known == 0) stored.store(words[at], std::memory_order_relaxed);
    if (known != 0 && stored.load(std::memory_order_relaxed) != words[at]) return false;
  }
  if (known == 0) Atomic(*word(start + kNameLength)).store(kept.size(), std::memory_order_release);
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
    if (found == 0 && Atomic(*word(kHashes + row)).compare_exchange_strong(found, hash)) {
      found = hash;
    }
    if (found == hash) return is_named(row, name) ? row : 0;
  }
  return 0;
}

bool CounterFile::add(std::size_t row, Counter counter, std::uint64_t number) {
  Atomic(*word(start_of(row) + kFirstCounter + index_of(counter)))
      .fetch_add(number, std::memory_order_relaxed);
  return !mapped_->guard.is_tripped();
}

bool CounterFile::add(std::size_t row, Timing timing, std::chrono::nanoseconds duration) {
  const auto first = start_of(row) + kFirstTiming + index_of(timing) * kTimingWords;
  const auto length = std::max<std::int64_t>(duration.count(), 0);
  Atomic(*word(first)).fetch_add(static_cast<std::uint64_t>(length), std::memory_order_relaxed);
  Atomic(*word(first + 1 + bucket_of(duration))).fetch_add(1, std::memory_order_relaxed);
  return !mapped_->guard.is_tripped();
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
    if (mapped_->guard.is_tripped()) return {};
    if (number == 0 || !row.name.empty()) found.push_back(std::move(row));  // else its maker died
  }
  return found;
}

}  // namespace cachectl::telemetry
