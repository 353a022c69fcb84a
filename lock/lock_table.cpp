#include "lock/lock_table.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "lock/range_query.hpp"
#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

constexpr unsigned kDepthBits = 58;
constexpr unsigned kDepths = 31;
constexpr std::uint64_t kNoteSlots = 1024;

constexpr std::uint64_t base_of(unsigned depth) { return std::uint64_t{depth} << kDepthBits; }
constexpr Range turnstile(unsigned depth) { return {base_of(depth), 1}; }

Error lost_lock(const std::string& path) {
  return {Errc::lease_lost, 0, "the lock of a parent process on " + path + " is gone",
          "nothing was written; CACHECTL_LOCK names a lock that has ended"};
}

/// The ranges of a slot, with the turnstile, which is locked by `gatekeeper`: `file` itself,
/// or another description of it.
Result<bool> lock_slot(FileLock& gatekeeper, FileLock& file, Slot slot, unsigned depth,
                       bool through_turnstile, Mode mode, const Deadline& deadline) {
  if (!backend.ranges || !through_turnstile) return file.lock(slot.range(depth), mode, deadline);
  const Range gate = turnstile(depth);
  CACHECTL_ASSIGN(
      const bool passed,
      gatekeeper.lock(gate, slot.is_whole() ? Mode::exclusive : Mode::shared, deadline));
  if (!passed) return false;
  if (!slot.is_whole()) CACHECTL_TRY(gatekeeper.unlock(gate));
  CACHECTL_ASSIGN(const bool held, file.lock(slot.range(depth), mode, deadline));
  // Shared holders of the whole leave the turnstile open for others.
  if (slot.is_whole() && (!held || mode == Mode::shared)) CACHECTL_TRY(gatekeeper.unlock(gate));
  return held;
}

OwnerNote note_of(const ProcessIdentity& owner, Slot slot, Mode mode, std::string_view command) {
  return {owner, std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()),
          slot.id(), mode, std::string(command)};
}

}  // namespace

Range Slot::range(unsigned depth) const {
  const std::uint64_t size = std::uint64_t{1} << kDepthBits;
  if (is_whole()) return {base_of(depth) + 1, size - 1};
  return {base_of(depth) + 1 + id_ % (size - 1), 1};
}

std::uint64_t Slot::note_slot() const { return is_whole() ? 0 : 1 + id_ % (kNoteSlots - 1); }

std::string encode(const OuterLocks& locks) {
  std::string text;
  for (const auto& lock : locks) {
    text += fmt::format("{}{}:{}:{:x}:{}", text.empty() ? "" : ",", lock.descriptor, lock.depth,
                        lock.slot.id(), lock.mode == Mode::exclusive ? 'x' : 's');
  }
  return text;
}

namespace {

/// Takes a number off the front of `text`, and the separator after it.
template <typename Number>
bool take_number(std::string_view& text, Number& value, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data() + text.size() || *end != ':') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

std::optional<OuterLock> decode_one(std::string_view text) {
  OuterLock lock;
  std::uint64_t id = 0;
  if (!take_number(text, lock.descriptor, 10) || !take_number(text, lock.depth, 10) ||
      !take_number(text, id, 16) || lock.descriptor < 0 || lock.depth >= kDepths) {
    return std::nullopt;
  }
  if (text != "x" && text != "s") return std::nullopt;
  lock.slot = Slot::from_id(id);
  lock.mode = text == "x" ? Mode::exclusive : Mode::shared;
  return lock;
}

}  // namespace

Result<OuterLocks> decode_outer_locks(std::string_view text) {
  OuterLocks locks;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto lock = decode_one(text.substr(0, comma));
    if (!lock) return fail(Errc::usage, fmt::format("'{}' names no locks that can be used", text));
    locks.push_back(*lock);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return locks;
}

HeldLock::HeldLock(FileLock file, const struct stat& identity, OuterLock self, OuterLocks outer,
                   const Directory& directory, std::string name)
    : file_(std::move(file)),
      device_(identity.st_dev),
      inode_(identity.st_ino),
      self_(self),
      outer_(std::move(outer)),
      directory_(&directory),
      name_(std::move(name)) {}

HeldLock& HeldLock::operator=(HeldLock&& other) noexcept {
  release();
  file_ = std::move(other.file_);
  other.file_.reset();
  device_ = other.device_;
  inode_ = other.inode_;
  self_ = other.self_;
  outer_ = std::move(other.outer_);
  directory_ = other.directory_;
  name_ = std::move(other.name_);
  told_ = std::move(other.told_);
  return *this;
}

void HeldLock::release() {
  if (!file_ || file_->descriptor() < 0) return;
  // Explicitly, not only by closing: a child may share the description. Nothing can
  // be done about a failure; the kernel releases at the latest when all have ended.
  const Range range = self_.slot.range(self_.depth);
  [[maybe_unused]] const auto unlocked =
      file_->unlock(self_.slot.is_whole() ? Range{range.start - 1, range.length + 1} : range);
  leave_to_children();
}

void HeldLock::leave_to_children() {
  if (!file_ || file_->descriptor() < 0) return;
  file_.reset();
  if (told_) told_();
}

Result<void> HeldLock::still_valid() const {
  CACHECTL_ASSIGN(const auto named, directory_->status(name_));
  if (named && named->st_dev == device_ && named->st_ino == inode_) return {};
  return fail(Errc::lease_lost, file_->path() + " was replaced while it was locked",
              "nothing was published; never remove the lock file by hand");
}

void HeldLock::leave_note(const ProcessIdentity& owner, std::string_view command) const {
  lock::leave_note(descriptor(), self_.slot.note_slot(),
                   note_of(owner, self_.slot, self_.mode, command));
}

OuterLocks HeldLock::handed_down() const {
  auto locks = outer_;
  locks.push_back(self_);
  return locks;
}

LockTable::LockTable(const Directory& directory, std::string name, mode_t mode, OuterLocks outer)
    : directory_(&directory), name_(std::move(name)), mode_(mode), outer_(std::move(outer)) {
  // A lease and CACHECTL_LOCK name theirs apart from each other: the depth is the order.
  std::stable_sort(outer_.begin(), outer_.end(),
                   [](const OuterLock& a, const OuterLock& b) { return a.depth < b.depth; });
}

/// Whether an outer lock is of the same slot: whoever waits for it waits for the one who lent it
/// to us, and is to be told of him.
bool LockTable::is_lent(Slot slot) const {
  return std::any_of(outer_.begin(), outer_.end(),
                     [&](const OuterLock& outer) { return outer.slot.id() == slot.id(); });
}

Result<FileLock> LockTable::open_file() const {
  CACHECTL_ASSIGN(auto file, directory_->open_or_create(name_, mode_));
  return FileLock(std::move(file), directory_->path_of(name_));
}

Result<LockTable::Place> LockTable::place_for(Slot slot, Mode mode, const FileLock& file,
                                              const struct stat& identity) const {
  Place place;
  for (const auto& outer : outer_) {
    struct stat status {};
    if (retry([&] { return ::fstat(outer.descriptor, &status); }) != 0) {
      continue;  // closed on the way to us
    }
    if (status.st_nlink == 0) return fail(lost_lock(file.path()));
    if (!same_file(status, identity)) continue;  // of another table
    if (backend.ranges && !outer.slot.overlaps(slot)) {
      // Whoever waits in the turnstile waits for this lock of our ancestor's too: were
      // we to wait behind him, nobody would ever go on.
      place.through_turnstile = false;
      continue;
    }
    if (!backend.inheritable || !outer.slot.covers(slot) ||
        (outer.mode == Mode::shared && mode == Mode::exclusive)) {
      return fail(Errc::usage,
                  "this would wait for itself: a parent process holds " +
                      std::string(outer.mode == Mode::shared ? "a shared" : "the") + " lock on " +
                      file.path(),
                  "take the wider or exclusive lock outside, or none");
    }
    // Held by our ancestor's description if somebody holds it and nobody else does.
    const Range range = outer.slot.range(outer.depth);
    CACHECTL_ASSIGN(const auto somebody, locked_by_others(file.descriptor(), range, file.path()));
    std::optional<Range> others;
    if (outer.mode == Mode::exclusive) {
      CACHECTL_ASSIGN(others, locked_by_others(outer.descriptor, range, file.path()));
    }
    if (!somebody || others) {
      return fail(lost_lock(file.path()));
    }
    place.depth = outer.depth + 1;
    place.through_turnstile = true;
  }
  return place;
}

Result<std::optional<HeldLock>> LockTable::acquire(Slot slot, Mode mode, const Deadline& deadline,
                                                   std::string_view command) const {
  while (true) {
    CACHECTL_ASSIGN(FileLock file, open_file());
    CACHECTL_ASSIGN(const struct stat identity, status_of(file.descriptor(), file.path()));
    CACHECTL_ASSIGN(const Place place, place_for(slot, mode, file, identity));
    CACHECTL_ASSIGN(const bool held, lock_slot(file, file, slot, place.depth,
                                               place.through_turnstile, mode, deadline));
    if (!held) return std::optional<HeldLock>();

    const OuterLock self{file.descriptor(), place.depth, slot, mode};
    HeldLock lock(std::move(file), identity, self, outer_, *directory_, name_);
    const auto valid = lock.still_valid();
    if (!valid && valid.error().code != Errc::lease_lost) return fail(valid.error());
    if (!valid) continue;  // replaced while we waited: lock the new one
    if (!is_lent(slot)) lock.leave_note(ProcessIdentity::self(), command);
    return std::optional<HeldLock>(std::move(lock));
  }
}

Result<FileLock> LockTable::adopt(int descriptor) const {
  const auto path = directory_->path_of(name_);
  if (!backend.inheritable) {
    return fail(Errc::unsupported,
                fmt::format("a lock of the {} backend cannot stay on a descriptor", backend.name));
  }
  const auto refuse = [&](const std::string& why) {
    return fail(Errc::usage, fmt::format("descriptor {} {}", descriptor, why),
                "open it in the shell: exec 9<>" + path);
  };
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) return refuse("is not open");
  CACHECTL_ASSIGN(const struct stat status, status_of(descriptor, "descriptor"));
  CACHECTL_ASSIGN(const auto named, directory_->status(name_));
  if (!named || !same_file(status, *named)) return refuse("is not " + path);
  if ((flags & O_ACCMODE) != O_RDWR || (flags & O_PATH) != 0) {
    return refuse("is not open for reading and writing");
  }
  Fd copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail(system_error("duplicate the descriptor"));
  return FileLock(std::move(copy), path);
}

Result<std::optional<OuterLocks>> LockTable::acquire_on(int descriptor, Slot slot, Mode mode,
                                                        const Deadline& deadline,
                                                        const ProcessIdentity& owner,
                                                        std::string_view command) const {
  CACHECTL_ASSIGN(FileLock file, adopt(descriptor));
  // The turnstile is passed on a description of our own: were we killed while we wait in it,
  // the caller's would keep it shut.
  CACHECTL_ASSIGN(FileLock ours, open_file());
  CACHECTL_ASSIGN(const struct stat identity, status_of(ours.descriptor(), ours.path()));
  CACHECTL_ASSIGN(const Place place, place_for(slot, mode, ours, identity));
  CACHECTL_ASSIGN(const bool held, lock_slot(ours, file, slot, place.depth, place.through_turnstile,
                                             mode, deadline));
  if (!held) return std::optional<OuterLocks>();
  CACHECTL_TRY(adopt(descriptor));  // still the file that others lock?
  if (!is_lent(slot)) {
    lock::leave_note(descriptor, slot.note_slot(), note_of(owner, slot, mode, command));
  }
  auto locks = outer_;
  locks.push_back({descriptor, place.depth, slot, mode});
  return std::optional(std::move(locks));
}

Result<void> LockTable::release_on(int descriptor) const {
  CACHECTL_ASSIGN(FileLock file, adopt(descriptor));
  return file.unlock({0, 0});
}

Result<bool> LockTable::is_held(Slot slot) const {
  CACHECTL_ASSIGN(const auto file, directory_->open_if_exists(name_, O_RDONLY));
  if (!file) return false;
  CACHECTL_ASSIGN(const auto range,
                  locked_by_others(file->get(), slot.range(0), directory_->path_of(name_)));
  return range.has_value();
}

std::optional<OwnerNote> LockTable::owner(Slot slot) const {
  auto opened = directory_->open_file(name_, O_RDONLY);
  if (!opened) return std::nullopt;
  // A FileLock closes it without harm to what this process holds, on each backend.
  const FileLock file(std::move(*opened), directory_->path_of(name_));
  auto note = read_note(file.descriptor(), slot.note_slot(), slot.id());
  auto whole = slot.is_whole() ? std::nullopt : read_note(file.descriptor(), 0, 0);
  // Either may be left over; the one who lives and came last is the better guess.
  const auto lives = [](const std::optional<OwnerNote>& who) {
    return who && liveness(who->process) != Liveness::gone;
  };
  if (lives(whole) && (!lives(note) || whole->since > note->since)) return whole;
  if (slot.is_whole() && !lives(note)) {
    // Any holder of a name keeps the whole table from us.
    for (std::uint64_t other = 1; other < kNoteSlots; ++other) {
      std::array<char, OwnerNote::kSlotSize> line;
      const auto got = read_full_at(file.descriptor(), std::as_writable_bytes(std::span(line)),
                                    other * OwnerNote::kSlotSize, name_);
      if (!got || *got != line.size()) break;
      const auto candidate = OwnerNote::decode({line.data(), line.size()});
      if (lives(candidate) && (!lives(note) || candidate->since > note->since)) note = candidate;
    }
  }
  return note;
}

}  // namespace cachectl::lock
