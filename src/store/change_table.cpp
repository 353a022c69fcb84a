#include "src/store/change_table.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <boost/interprocess/exceptions.hpp>
#include <ctime>

#include "lock/retry.hpp"
#include "lock/staged_file.hpp"

// Since Linux 5.14; the headers may be older.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace cachectl::store {

namespace {

using boost::interprocess::mapped_region;
using Word = std::atomic_ref<std::uint64_t>;
static_assert(Word::is_always_lock_free);

constexpr std::uint64_t kChangesMagic =
    0x7365676e61686363U;  // "cchanges" in the order of the bytes
constexpr std::uint64_t kChangesVersion = 1;
constexpr std::size_t kChangesPage = 4096;
constexpr std::uint64_t kUnderWay = 0xffff;
constexpr std::uint64_t kOneChange = kUnderWay + 1;

using ChangesHead = std::array<std::uint64_t, 4>;

std::size_t offset_of(const KeyHash& hash) {
  return ChangeTable::kHead + (hash.high % ChangeTable::kSlots) * sizeof(std::uint64_t);
}

/// What Boost.Interprocess can map: a descriptor of ours.
class MappableChanges {
 public:
  explicit MappableChanges(int descriptor) : descriptor_(descriptor) {}
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return {descriptor_, false};
  }

 private:
  int descriptor_;
};

/// The file, for reading and writing if we may; not valid: there is none that we may open.
lock::Fd open_changes(const lock::Directory& root, int access) {
  return lock::Fd(::openat(root.descriptor(), ChangeTable::kName,
                           access | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC));
}

/// Whether it is a table of ours, and whole.
bool is_table(const lock::Fd& file, struct stat& status, ChangesHead& head) {
  if (lock::retry([&] { return ::fstat(file.get(), &status); }) != 0) return false;
  if (!S_ISREG(status.st_mode) || status.st_size != off_t{ChangeTable::kSize}) return false;
  const auto got = lock::read_full_at(file.get(), std::as_writable_bytes(std::span(head)), 0,
                                      ChangeTable::kName);
  return got && *got == sizeof head && head[0] == kChangesMagic && head[1] == kChangesVersion &&
         head[2] == ChangeTable::kSize;
}

Result<void> make_changes(const Root& root) {
  CACHECTL_ASSIGN(const auto staging, root.writable(Root::kStaging));
  CACHECTL_ASSIGN(auto file, lock::StagedFile::create(staging, root.file_mode()));
  // All of it now: a full disk must not show when a page is first touched.
  const int refused = ::posix_fallocate(file.descriptor(), 0, ChangeTable::kSize);
  if (refused != 0) return fail(system_error("allocate " + file.path(), refused));
  ChangesHead head{kChangesMagic, kChangesVersion, ChangeTable::kSize, 0};
  if (lock::retry([&] { return ::getrandom(&head[3], sizeof head[3], 0); }) != sizeof head[3]) {
    return fail(system_error("getrandom"));
  }
  CACHECTL_TRY(
      lock::write_all_at(file.descriptor(), std::as_bytes(std::span(head)), 0, file.path()));
  return file.commit(root.directory(), ChangeTable::kName, lock::Durability::none);
}

std::int64_t coarse_tick() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

ChangeTable::ChangeTable(const Root& root, const struct stat& status, std::uint64_t epoch,
                         mapped_region region)
    : root_(&root),
      device_(status.st_dev),
      inode_(status.st_ino),
      epoch_(epoch),
      region_(std::move(region)),
      looked_(coarse_tick()) {}

/// Null: there is none, or something else.
Result<std::unique_ptr<ChangeTable>> ChangeTable::map(const Root& root) {
  std::unique_ptr<ChangeTable> none;
  bool may_write = true;
  auto file = open_changes(root.directory(), O_RDWR);
  if (!file.valid() && (errno == EACCES || errno == EROFS || errno == EPERM)) {
    may_write = false;
    file = open_changes(root.directory(), O_RDONLY);
  }
  struct stat status {};
  ChangesHead head{};
  if (!file.valid() || !is_table(file, status, head)) return none;
  try {
    const auto mode = may_write ? boost::interprocess::read_write : boost::interprocess::read_only;
    mapped_region region(MappableChanges(file.get()), mode, 0, kSize);
    std::unique_ptr<ChangeTable> table(new ChangeTable(root, status, head[3], std::move(region)));
    if (may_write) table->forget_the_dead();
    return table;
  } catch (const boost::interprocess::interprocess_exception& error) {
    return fail(system_error("map " + root.directory().path_of(kName), error.get_native_error()));
  }
}

Result<std::unique_ptr<ChangeTable>> ChangeTable::open(const Root& root) {
  CACHECTL_ASSIGN(auto table, map(root));
  if (table) return table;
  CACHECTL_TRY(make_changes(root));
  CACHECTL_ASSIGN(table, map(root));
  if (table) return table;
  return fail(Errc::refused, root.directory().path_of(kName) + " is replaced again and again",
              "it belongs to the cache: find out who writes it");
}

/// When nobody writes, what is under way never ends.
void ChangeTable::forget_the_dead() {
  auto* const words =
      static_cast<std::uint64_t*>(region_.get_address()) + kHead / sizeof(std::uint64_t);
  std::optional<lock::HeldLock> held;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const Word word(words[slot]);
    if ((word.load(std::memory_order_relaxed) & kUnderWay) == 0) continue;
    if (!held) {
      auto all = root_->locks().acquire(lock::Slot::whole(), lock::Mode::exclusive,
                                        lock::Deadline::immediately(), "cachectl library");
      if (!all || !*all) return;
      held = std::move(*all);
    }
    const auto last = word.load();
    word.store((last & ~kUnderWay) + kOneChange);
  }
}

std::optional<std::uint64_t> ChangeTable::stamp(const KeyHash& hash) const {
  auto* const start = static_cast<std::byte*>(region_.get_address()) + offset_of(hash);
  const auto word = Word(*reinterpret_cast<std::uint64_t*>(start)).load(std::memory_order_acquire);
  if ((word & kUnderWay) != 0) return std::nullopt;
  return epoch_ + word;
}

bool ChangeTable::is_current() const {
  const auto now = coarse_tick();
  if (looked_.load(std::memory_order_relaxed) != now && is_current_.load()) {
    looked_.store(now, std::memory_order_relaxed);
    struct stat status {};
    const bool is_there =
        ::fstatat(root_->directory().descriptor(), kName, &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_there || status.st_ino != inode_ || status.st_dev != device_ ||
        status.st_size != off_t{kSize}) {
      is_current_ = false;
    }
  }
  return is_current_.load(std::memory_order_relaxed);
}

namespace {

/// Adds to the word of a key in the file that has the name now, unless there is none.
/// `addend` is asked which file that is.
template <typename Addend>
void add_to_changes(const Root& root, const KeyHash& hash, const Addend& addend) {
  const auto file = open_changes(root.directory(), O_RDWR);
  struct stat status {};
  ChangesHead head{};
  if (!file.valid() || !is_table(file, status, head)) return;
  const auto offset = offset_of(hash);
  const auto page = offset / kChangesPage * kChangesPage;
  try {
    const mapped_region region(MappableChanges(file.get()), boost::interprocess::read_write,
                               static_cast<boost::interprocess::offset_t>(page), kChangesPage);
    auto* const start = static_cast<std::byte*>(region.get_address());
    // An older kernel does not know how to: then the touch will.
    if (::madvise(start, kChangesPage, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) return;
    Word(*reinterpret_cast<std::uint64_t*>(start + (offset - page))).fetch_add(addend(status));
  } catch (const boost::interprocess::interprocess_exception&) {
    // No room to map a page: those who keep values find out by their age.
  }
}

}  // namespace

Change::Change(const Root& root, const KeyHash& hash) : root_(&root), hash_(&hash) {
  add_to_changes(root, hash, [this](const struct stat& status) {
    begun_ = true;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    return std::uint64_t{1};
  });
}

Change::~Change() {
  add_to_changes(*root_, *hash_, [this](const struct stat& status) {
    const bool is_same = begun_ && status.st_ino == inode_ && status.st_dev == device_;
    return is_same ? kOneChange - 1 : kOneChange;
  });
}

}  // namespace cachectl::store
