#include "src/pool/pool.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "lock/number.hpp"
#include "lock/range_query.hpp"
#include "lock/retry.hpp"
#include "src/lease/lease.hpp"
#include "src/pool/queue.hpp"
#include "src/store/scan.hpp"
#include "src/tree/remove.hpp"
#include "src/tree/subvolume.hpp"
#include "src/tree/update.hpp"

namespace cachectl::pool {

namespace {

using lock::Directory;

constexpr const char* kLockFile = "pool.lock";
constexpr const char* kValue = "value";
constexpr const char* kManifest = "manifest";
constexpr const char* kSnapshot = "snapshot";
constexpr const char* kUpper = "upper";
constexpr const char* kWork = "work";
constexpr std::chrono::milliseconds kLookAgain{3};

void look_again_soon() {
  const timespec pause{0, std::chrono::nanoseconds(kLookAgain).count()};
  ::nanosleep(&pause, nullptr);
}

lock::Range byte_of(unsigned number) { return {number, 1}; }

std::string place_of(const KeyHash& hash) { return std::string(Pool::kPools) + "/" + hash.hex(); }

std::optional<unsigned> parse_slot(std::string_view text) {
  unsigned number = 0;
  if (!parse_number(text, number) || text.starts_with('0') || number > kMost) return std::nullopt;
  return number;
}

/// "ROOT/pools/HASH/N" and what is below.
struct Location {
  KeyHash hash;
  unsigned number = 0;
};
std::optional<Location> parse_location(const store::Root& root, std::string_view path) {
  const auto prefix = root.path() + "/" + Pool::kPools + "/";
  if (!path.starts_with(prefix)) return std::nullopt;
  path.remove_prefix(prefix.size());
  const auto slash = path.find('/');
  Location location;
  if (slash == std::string_view::npos || !KeyHash::parse(path.substr(0, slash), location.hash)) {
    return std::nullopt;
  }
  path.remove_prefix(slash + 1);
  const auto number = parse_slot(path.substr(0, path.find('/')));
  if (!number) return std::nullopt;
  location.number = *number;
  return location;
}

/// What its state says of the slot in `directory`.
Result<SlotInfo> read_info(const Directory& directory, unsigned number) {
  CACHECTL_ASSIGN(auto state, read_state(directory));
  SlotInfo info;
  info.number = number;
  info.path = directory.path_of(kValue);
  info.state = std::move(state).value_or(ReplicaState{});
  return info;
}

Result<void> write_file(const Directory& directory, const char* name, std::string_view text,
                        mode_t mode) {
  CACHECTL_ASSIGN([[maybe_unused]] const bool old, directory.unlink(name));
  CACHECTL_ASSIGN(const auto file, directory.open_file(name, O_WRONLY | O_CREAT | O_EXCL, mode));
  return lock::write_all(file.get(), lock::bytes_of(text), directory.path_of(name));
}

/// What the replica was filled with; nullopt: not known, or damaged.
Result<std::optional<tree::Filled>> read_filled(const Directory& directory) {
  CACHECTL_ASSIGN(const auto manifest_text, directory.read_if_exists(kManifest));
  CACHECTL_ASSIGN(const auto snapshot_text, directory.read_if_exists(kSnapshot));
  if (!manifest_text || !snapshot_text) return std::optional<tree::Filled>();
  auto manifest = tree::decode_manifest(*manifest_text, directory.path_of(kManifest));
  auto snapshot = tree::decode_snapshot(*snapshot_text, directory.path_of(kSnapshot));
  if (!manifest || !snapshot) return std::optional<tree::Filled>();
  return std::optional(tree::Filled{std::move(*manifest), std::move(*snapshot)});
}

/// Gives the upper layer, which is what is seen of the top directory, its mode and time.
Result<void> dress_upper(const Directory& slot, const struct stat& value) {
  CACHECTL_ASSIGN(const auto upper, slot.open_below(kUpper));
  const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, value.st_mtim};
  if (lock::retry([&] { return ::fchmod(upper.descriptor(), value.st_mode & 07777U); }) != 0 ||
      lock::retry([&] { return ::futimens(upper.descriptor(), times.data()); }) != 0) {
    return fail(system_error("set mode and time of " + upper.path()));
  }
  return {};
}

/// Whether anything is in a directory; one that is not there has nothing.
Result<bool> is_empty(const Directory& directory, const char* name) {
  CACHECTL_ASSIGN(const auto inside, directory.find_below(name));
  if (!inside) return true;
  return store::each_name(*inside, [](const auto&, const auto&) { return Result<bool>(false); });
}

/// Whether the replica is not as it was filled.
Result<bool> is_changed(const Directory& directory, const ReplicaState& state) {
  if (state.way == Way::overlay) {
    // One that may not be looked into was changed, or is one of a value that may not.
    const auto empty = is_empty(directory, kUpper);
    return !empty || !*empty;
  }
  CACHECTL_ASSIGN(const auto filled, read_filled(directory));
  if (!filled) return true;
  CACHECTL_ASSIGN(const auto changed, tree::changed_since(directory, kValue, filled->snapshot));
  return !changed.empty();
}

bool contains(const std::vector<Way>& ways, Way way) {
  return std::find(ways.begin(), ways.end(), way) != ways.end();
}

Way way_of(tree::Method method) {
  switch (method) {
    case tree::Method::snapshot:
      return Way::snapshot;
    case tree::Method::reflink:
      return Way::reflink;
    case tree::Method::hard_link:
      return Way::hard_link;
    case tree::Method::copy:
      break;
  }
  return Way::copy;
}

tree::CopyOptions copy_options(const Options& options, const std::vector<Way>& ways) {
  tree::CopyOptions result;
  result.progress = options.progress;
  result.methods.clear();
  for (const auto way : ways) {
    if (way == Way::snapshot) result.methods.push_back(tree::Method::snapshot);
    if (way == Way::reflink) result.methods.push_back(tree::Method::reflink);
    if (way == Way::hard_link) result.methods.push_back(tree::Method::hard_link);
    if (way == Way::copy) result.methods.push_back(tree::Method::copy);
  }
  return result;
}

}  // namespace

std::string_view name_of(Condition condition) {
  switch (condition) {
    case Condition::empty:
      return "empty";
    case Condition::free:
      return "free";
    case Condition::dirty:
      return "dirty";
    case Condition::broken:
      return "broken";
    case Condition::leased:
      return "leased";
  }
  return "";
}

Result<Pool> Pool::open(const store::Root& root, const KeyHash& hash, Options options) {
  if (!lock::backend.ranges || !lock::backend.inheritable) {
    return fail(Errc::unsupported, "this build has no pools: its lock backend (" +
                                       std::string(lock::backend.name) +
                                       ") locks whole files for one process");
  }
  CACHECTL_ASSIGN(auto directory, root.writable(place_of(hash)));
  return Pool(root, hash, std::move(directory), std::move(options));
}

Result<std::optional<Pool>> Pool::find(const store::Root& root, const KeyHash& hash,
                                       Options options) {
  CACHECTL_ASSIGN(auto directory, root.directory().find_below(place_of(hash)));
  if (!directory) return std::optional<Pool>();
  return std::optional(Pool(root, hash, std::move(*directory), std::move(options)));
}

Result<lock::FileLock> Pool::open_lock() const {
  CACHECTL_ASSIGN(auto file, directory_.open_or_create(kLockFile, root_->file_mode()));
  return lock::FileLock(std::move(file), directory_.path_of(kLockFile));
}

Result<std::optional<Slot>> Pool::hold(unsigned number, const lock::Deadline& deadline,
                                       bool from_living) const {
  CACHECTL_ASSIGN(auto file, open_lock());
  CACHECTL_ASSIGN(const bool held, file.lock(byte_of(number), lock::Mode::exclusive, deadline));
  if (!held) return std::optional<Slot>();
  CACHECTL_ASSIGN(auto opened,
                  directory_.ensure_below(std::to_string(number), root_->directory_mode(), false));
  auto directory = std::make_unique<Directory>(std::move(opened));
  CACHECTL_ASSIGN(auto state, read_state(*directory));
  if (state && !from_living && is_bereft(*state)) return std::optional<Slot>();
  // What cannot be read may be anything.
  ReplicaState unknown;
  unknown.status = Status::filling;
  CACHECTL_ASSIGN(const auto value, directory->status(kValue));
  if (!state && !value) unknown.status = Status::empty;
  return std::optional(Slot(number, std::move(file), std::move(directory),
                            std::move(state).value_or(std::move(unknown))));
}

Result<std::optional<Slot>> Pool::try_take(unsigned number) const {
  return hold(number, lock::Deadline::immediately());
}

Result<std::optional<Slot>> Pool::try_any(store::Generation wanted,
                                          const std::vector<Way>& ways) const {
  struct Candidate {
    unsigned number;
    unsigned rank;  // the least first
    store::Generation generation;
  };
  std::vector<Candidate> candidates;
  for (unsigned number = 1; number <= options_.most; ++number) {
    CACHECTL_ASSIGN(const auto directory, directory_.find_below(std::to_string(number)));
    std::optional<ReplicaState> state;
    if (directory) {
      CACHECTL_ASSIGN(state, read_state(*directory));
    }
    // A hint only: what counts is looked at again under the lock.
    unsigned rank = 3;
    const bool usable = state && state->status == Status::ready && contains(ways, state->way);
    if (usable) rank = state->generation == wanted ? 0 : 1;
    if (state && !usable && state->status != Status::empty)
      rank = 4;  // to be filled anew, and something to remove first
    candidates.push_back({number, rank, usable ? state->generation : 0});
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.generation > b.generation;
  });
  for (const auto& candidate : candidates) {
    CACHECTL_ASSIGN(auto slot, try_take(candidate.number));
    if (slot) return slot;
  }
  return std::optional<Slot>();
}

Result<std::optional<Slot>> Pool::take(store::Generation wanted, const std::vector<Way>& ways,
                                       const lock::Deadline& deadline,
                                       std::string_view owner) const {
  const telemetry::Stopwatch asked;
  CACHECTL_ASSIGN(auto file, open_lock());
  CACHECTL_ASSIGN(const bool waiting, somebody_waits(file.descriptor()));
  std::optional<Slot> slot;
  if (!waiting) {
    CACHECTL_ASSIGN(slot, try_any(wanted, ways));
  }
  if (!slot && !deadline.is_immediate()) {
    CACHECTL_ASSIGN(auto ticket, Ticket::draw(std::move(file)));
    CACHECTL_ASSIGN(const bool first, ticket.wait_until_first(deadline));
    lock::ObservedWait wait(deadline);
    while (first && !slot && !deadline.passed()) {
      CACHECTL_ASSIGN(slot, try_any(wanted, ways));
      if (slot) break;
      wait.goes_on();
      look_again_soon();
    }
  }
  if (!slot) {
    root_->tell({telemetry::What::pool_exhausted, options_.key, asked.elapsed()});
    return slot;
  }
  slot->asked_ = asked;
  CACHECTL_TRY(note_owner(*slot, "", owner));
  return slot;
}

Result<void> Pool::note(Slot& slot) const {
  return write_state(*slot.directory_, slot.state_, root_->file_mode());
}

Result<void> Pool::note_owner(Slot& slot, std::string_view lease, std::string_view owner) const {
  slot.state_.leased = true;
  slot.state_.lease = lease;
  slot.state_.owner = owner;
  slot.state_.since = SystemClock().now();
  return note(slot);
}

bool Pool::is_bereft(const ReplicaState& state) const {
  // After another start of the machine the numbers of the owner may be those of anybody.
  if (!state.leased || state.lease.empty() || state.boot != boot_id()) return false;
  const auto id = lease::Id::parse(state.lease);
  return id && lease::owner_relies_on(*root_, *id);
}

Result<bool> Pool::take_back(const store::Root& root, const std::string& path,
                             std::string_view lease, const std::function<Result<void>()>& before) {
  const auto location = parse_location(root, path);
  if (!location) return false;
  CACHECTL_ASSIGN(const auto pool, find(root, location->hash, {}));
  if (!pool) return false;
  CACHECTL_ASSIGN(auto slot, pool->hold(location->number, lock::Deadline::immediately(), true));
  if (!slot || slot->state_.lease != lease) return false;
  const bool was_lent = pool->is_bereft(slot->state_);
  if (was_lent && before) CACHECTL_TRY(before());
  CACHECTL_TRY(pool->give_back(*slot));
  return was_lent;
}

std::string Pool::path_of(const store::Root& root, const KeyHash& hash, unsigned number) {
  return root.path() + "/" + place_of(hash) + "/" + std::to_string(number) + "/" + kValue;
}

Result<void> Pool::give_back(Slot& slot) const {
  if (slot.state_.leased && !slot.asked_) {
    const auto lent = SystemClock().now() - slot.state_.since;
    root_->tell({telemetry::What::checked_in, options_.key,
                 std::max<std::chrono::nanoseconds>(lent, std::chrono::nanoseconds(0))});
  }
  slot.state_.leased = false;
  slot.state_.lease.clear();
  slot.state_.owner.clear();
  slot.state_.since = SystemClock().now();
  return note(slot);
}

Result<void> Pool::clear(Slot& slot) const {
  slot.state_.status = Status::filling;
  CACHECTL_TRY(note(slot));
  for (const char* name : {kValue, kUpper, kWork}) {
    CACHECTL_TRY(tree::remove_tree(*slot.directory_, name));
  }
  for (const char* name : {kManifest, kSnapshot}) {
    CACHECTL_ASSIGN([[maybe_unused]] const bool was, slot.directory_->unlink(name));
  }
  slot.state_.status = Status::empty;
  slot.state_.generation = 0;
  slot.state_.why.clear();
  return note(slot);
}

Result<void> Pool::begin(Slot& slot) const {
  CACHECTL_TRY(clear(slot));
  slot.state_.status = Status::filling;
  slot.state_.boot = boot_id();
  return note(slot);
}

Result<void> Pool::finish(Slot& slot, const store::Tree& primary, const tree::Manifest& manifest,
                          const tree::Snapshot& snapshot) const {
  CACHECTL_TRY(write_file(*slot.directory_, kManifest, tree::encode(manifest), root_->file_mode()));
  CACHECTL_TRY(write_file(*slot.directory_, kSnapshot, tree::encode(snapshot), root_->file_mode()));
  slot.state_.status = Status::ready;
  slot.state_.generation = primary.generation();
  return note(slot);
}

Result<void> Pool::fill(Slot& slot, const store::Tree& primary, const tree::Manifest& manifest,
                        const std::vector<Way>& ways, const std::string& why) const {
  CACHECTL_TRY(begin(slot));
  CACHECTL_ASSIGN(const auto made,
                  tree::copy_tree(primary.directory(), store::StagedTree::kValue, manifest,
                                  *slot.directory_, kValue, copy_options(options_, ways)));
  CACHECTL_ASSIGN(const auto snapshot, tree::take_snapshot(*slot.directory_, kValue));
  slot.state_.way = way_of(made.method);
  slot.state_.why = why;
  if (!made.why_not.empty()) slot.state_.why += (why.empty() ? "" : "; ") + made.why_not;
  return finish(slot, primary, manifest, snapshot);
}

Result<void> Pool::update(Slot& slot, const store::Tree& primary, const tree::Manifest& manifest,
                          const std::vector<Way>& ways) const {
  CACHECTL_ASSIGN(const auto filled, read_filled(*slot.directory_));
  if (!filled) return fill(slot, primary, manifest, ways, slot.state_.why);
  slot.state_.status = Status::filling;
  CACHECTL_TRY(note(slot));
  const auto done =
      tree::update_tree(*slot.directory_, kValue, *filled, primary.directory(),
                        store::StagedTree::kValue, manifest, copy_options(options_, ways));
  // A subvolume that its owner made in it, or no directory any more. What is mounted there,
  // nobody removes.
  if (!done && done.error().code == Errc::refused) {
    return fill(slot, primary, manifest, ways, slot.state_.why);
  }
  if (!done) return fail(done.error());
  return finish(slot, primary, manifest, done->snapshot);
}

Result<bool> Pool::will_do(const Slot& slot, const store::Tree& primary, bool known) const {
  if (!known || slot.state_.generation != primary.generation()) return false;
  if (options_.reset == Reset::no) return true;
  if (options_.reset == Reset::always) return false;
  CACHECTL_ASSIGN(const bool changed, is_changed(*slot.directory_, slot.state_));
  return !changed;
}

void Pool::tell_ready(Slot& slot) const {
  if (!slot.asked_) return;
  root_->tell({telemetry::What::checked_out,
               options_.key,
               slot.asked_->elapsed(),
               {},
               0,
               slot.state_.generation});
  slot.asked_.reset();
}

Result<void> Pool::prepare(Slot& slot, const store::Tree& primary, const std::vector<Way>& ways,
                           const std::string& why) const {
  CACHECTL_TRY(make_ready(slot, primary, ways, why));
  tell_ready(slot);
  return {};
}

Result<void> Pool::prepare_overlay(Slot& slot, const store::Tree& primary,
                                   const std::string& why) const {
  CACHECTL_TRY(make_overlay(slot, primary, why));
  tell_ready(slot);
  return {};
}

Result<void> Pool::make_ready(Slot& slot, const store::Tree& primary, const std::vector<Way>& ways,
                              const std::string& why) const {
  const auto& state = slot.state_;
  const bool known =
      state.status == Status::ready && state.boot == boot_id() && contains(ways, state.way);
  // Its owner may have made a subvolume read-only.
  const auto replica = slot.directory_->find_below(kValue);
  if (replica && *replica) tree::make_subvolume_writable((*replica)->descriptor());
  CACHECTL_ASSIGN(const bool as_it_is, will_do(slot, primary, known));
  if (as_it_is) return {};
  CACHECTL_ASSIGN(const auto manifest, primary.manifest());
  // Hard links share their files with the generation: what was changed is to be made anew. And
  // single files are no snapshots.
  const bool anew = !known || options_.reset == Reset::always || state.way == Way::hard_link ||
                    ways == std::vector{Way::snapshot};
  auto made =
      anew ? fill(slot, primary, manifest, ways, why) : update(slot, primary, manifest, ways);
  // Half a replica is good for nothing, and a full disk needs its room.
  if (!made) [[maybe_unused]]
    const auto cleared = clear(slot);
  return made;
}

Result<void> Pool::make_overlay(Slot& slot, const store::Tree& primary,
                                const std::string& why) const {
  CACHECTL_ASSIGN(const auto value, primary.directory().status(store::StagedTree::kValue));
  if (!value) return fail(system_error("stat " + primary.path(), ENOENT));
  if (!S_ISDIR(value->st_mode)) {
    return fail(Errc::unsupported, "overlay: the value is a file");
  }
  const auto& state = slot.state_;
  const bool known =
      state.status == Status::ready && state.boot == boot_id() && state.way == Way::overlay;
  CACHECTL_ASSIGN(const bool as_it_is, will_do(slot, primary, known));
  if (as_it_is) {
    // Its contents are; what its user did to mode and time of the directory does not show.
    return options_.reset == Reset::no ? Result<void>() : dress_upper(*slot.directory_, *value);
  }
  CACHECTL_TRY(begin(slot));
  for (const char* name : {kValue, kUpper, kWork}) {
    CACHECTL_ASSIGN(const auto made,
                    slot.directory_->ensure_below(name, root_->directory_mode(), false));
  }
  CACHECTL_TRY(dress_upper(*slot.directory_, *value));
  slot.state_.status = Status::ready;
  slot.state_.generation = primary.generation();
  slot.state_.way = Way::overlay;
  slot.state_.why = why;
  return note(slot);
}

Result<bool> Pool::drain(const lock::Deadline& deadline) const {
  CACHECTL_ASSIGN(auto file, open_lock());
  CACHECTL_ASSIGN(auto ticket, Ticket::draw(std::move(file)));
  CACHECTL_ASSIGN(const bool first, ticket.wait_until_first(deadline));
  if (!first) return false;
  std::vector<Slot> held;
  for (unsigned number = 1; number <= kMost; ++number) {
    CACHECTL_ASSIGN(const auto there, directory_.status(std::to_string(number)));
    if (!there) continue;
    CACHECTL_ASSIGN(auto slot, hold(number, deadline));
    // Whose holder was killed has no lock that could be waited for.
    lock::ObservedWait wait(deadline);
    while (!slot && !deadline.passed()) {
      wait.goes_on();
      look_again_soon();
      CACHECTL_ASSIGN(slot, hold(number, deadline));
    }
    if (!slot) return false;
    CACHECTL_TRY(clear(*slot));
    held.push_back(std::move(*slot));
  }
  return true;
}

Result<unsigned> Pool::trim(unsigned most, bool dry_run) const {
  unsigned removed = 0;
  for (unsigned number = most + 1; number <= kMost; ++number) {
    CACHECTL_ASSIGN(const auto there, directory_.status(std::to_string(number)));
    if (!there) continue;
    CACHECTL_ASSIGN(auto slot, try_take(number));
    if (!slot || slot->state_.status == Status::empty) continue;
    if (!dry_run) CACHECTL_TRY(clear(*slot));
    ++removed;
  }
  return removed;
}

Result<bool> Pool::is_held(unsigned number, int file) const {
  CACHECTL_ASSIGN(const auto lock,
                  lock::locked_by_others(file, byte_of(number), directory_.path_of(kLockFile)));
  return lock.has_value();
}

Result<Condition> Pool::condition_of(unsigned number, const ReplicaState& state, int file) const {
  CACHECTL_ASSIGN(const bool held, is_held(number, file));
  if (held || is_bereft(state)) return Condition::leased;
  if (state.status == Status::empty) return Condition::empty;
  if (state.status == Status::filling || state.boot != boot_id()) return Condition::broken;
  CACHECTL_ASSIGN(const auto directory, directory_.open_below(std::to_string(number)));
  const auto changed = is_changed(directory, state);
  // Taken, changed or removed while we looked.
  if (!changed) return Condition::dirty;
  return *changed ? Condition::dirty : Condition::free;
}

Result<std::vector<SlotInfo>> Pool::list() const {
  std::vector<SlotInfo> slots;
  CACHECTL_ASSIGN(const auto file, directory_.open_if_exists(kLockFile, O_RDONLY));
  if (!file) return slots;
  for (unsigned number = 1; number <= kMost; ++number) {
    CACHECTL_ASSIGN(const auto directory, directory_.find_below(std::to_string(number)));
    if (!directory) continue;
    CACHECTL_ASSIGN(auto info, read_info(*directory, number));
    CACHECTL_ASSIGN(info.condition, condition_of(number, info.state, file->get()));
    slots.push_back(std::move(info));
  }
  return slots;
}

Result<std::optional<SlotInfo>> Pool::locate(const store::Root& root, const std::string& path) {
  const auto location = parse_location(root, path);
  if (!location) return std::optional<SlotInfo>();
  const auto place = place_of(location->hash) + "/" + std::to_string(location->number);
  CACHECTL_ASSIGN(const auto directory, root.directory().find_below(place));
  if (!directory) return std::optional<SlotInfo>();
  CACHECTL_ASSIGN(auto info, read_info(*directory, location->number));
  return std::optional(std::move(info));
}

}  // namespace cachectl::pool
