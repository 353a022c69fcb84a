#include "src/store/change_table.hpp"

#include <fcntl.h>
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "lock/retry.hpp"
#include "lock/staged_file.hpp"

namespace cachectl::store {

namespace {

using lock::MappedFile;

constexpr std::uint64_t kChangesMagic =
    0x7365676e61686363U;  // "cchanges" in the order of the bytes
constexpr std::uint64_t kChangesVersion = 1;
constexpr std::size_t kChangesPage = 4096;
constexpr std::uint64_t kUnderWay = 0xffff;
constexpr std::uint64_t kOneChange = kUnderWay + 1;

using ChangesHead = std::array<std::uint64_t, 4>;

std::size_t word_of(const KeyHash& hash) {
  return ChangeTable::kHead / sizeof(std::uint64_t) + hash.high % ChangeTable::kSlots;
}

/// Of a table of ours, which is whole; else nullopt.
std::optional<ChangesHead> head_of(const lock::Fd& file, const struct stat& status) {
  if (status.st_size != off_t{ChangeTable::kSize}) return std::nullopt;
  ChangesHead head{};
  const auto got = lock::read_full_at(file.get(), std::as_writable_bytes(std::span(head)), 0,
                                      ChangeTable::kName);
  const bool is_ours = got && *got == sizeof head && head[0] == kChangesMagic &&
                       head[1] == kChangesVersion && head[2] == ChangeTable::kSize;
  return is_ours ? std::optional(head) : std::nullopt;
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

ChangeTable::ChangeTable(const Root& root, std::uint64_t epoch, std::unique_ptr<MappedFile> mapped)
    : root_(&root), epoch_(epoch), mapped_(std::move(mapped)), looked_(coarse_tick()) {}

/// Null: there is none, or something else.
Result<std::unique_ptr<ChangeTable>> ChangeTable::map(const Root& root) {
  std::unique_ptr<ChangeTable> none;
  auto access = MappedFile::Access::add;
  auto file = MappedFile::open(root.directory(), kName, access);
  if (!file.valid() && (errno == EACCES || errno == EROFS || errno == EPERM)) {
    access = MappedFile::Access::look;
    file = MappedFile::open(root.directory(), kName, access);
  }
  if (!file.valid()) return none;
  auto mapped = MappedFile::map(file.get(), access, 0, kSize);
  if (!mapped && errno == ENODEV) return none;
  if (!mapped) return fail(system_error("map " + root.directory().path_of(kName)));
  const auto head = head_of(file, mapped->status());
  if (!head) return none;
  std::unique_ptr<ChangeTable> table(new ChangeTable(root, (*head)[3], std::move(mapped)));
  if (access == MappedFile::Access::add) table->forget_the_dead();
  return table;
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
  std::optional<lock::HeldLock> held;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const auto word = mapped_->word(kHead / sizeof(std::uint64_t) + slot);
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
  const auto word = mapped_->word(word_of(hash)).load(std::memory_order_acquire);
  if ((word & kUnderWay) != 0 || mapped_->is_tripped()) return std::nullopt;
  return epoch_ + word;
}

bool ChangeTable::is_current() const {
  const auto now = coarse_tick();
  if (looked_.load(std::memory_order_relaxed) != now && is_current_.load()) {
    looked_.store(now, std::memory_order_relaxed);
    if (!mapped_->is_current(root_->directory(), kName)) is_current_ = false;
  }
  return is_current_.load(std::memory_order_relaxed);
}

namespace {

/// Adds to the word of a key in the file that has the name now, unless there is none.
/// `addend` is asked which file that is.
template <typename Addend>
void add_to_changes(const Root& root, const KeyHash& hash, const Addend& addend) {
  const auto file = MappedFile::open(root.directory(), ChangeTable::kName, MappedFile::Access::add);
  if (!file.valid()) return;
  constexpr std::size_t kWords = kChangesPage / sizeof(std::uint64_t);
  const auto word = word_of(hash);
  const auto mapped = MappedFile::map(file.get(), MappedFile::Access::add,
                                      word / kWords * kChangesPage, kChangesPage);
  // No room to map a page: those who keep values find out by their age.
  if (!mapped || !head_of(file, mapped->status())) return;
  mapped->word(word % kWords).fetch_add(addend(mapped->status()));
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
