#include "src/tree/update.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lock/retry.hpp"
#include "src/tree/copier.hpp"
#include "src/tree/plan.hpp"
#include "src/tree/remove.hpp"
#include "src/tree/remove_at.hpp"
#include "src/tree/snapshot.hpp"
#include "src/tree/walk.hpp"

namespace cachectl::tree {

namespace {

WalkOptions whatever_is_there() {
  WalkOptions options;
  options.unreadable = Unreadable::make_readable;
  options.refuse_special = false;
  return options;
}

/// The update of a directory to a directory.
class Update {
 public:
  Update(const Top& top, std::string where, const Filled& was, const Manifest& now)
      : top_(top), where_(std::move(where)), was_(was), now_(now) {}

  Result<Updated> run(End from, const CopyOptions& options) {
    CACHECTL_TRY(look());
    plan_ = plan_update(was_, is_, now_);
    CACHECTL_TRY(make_writable());
    CACHECTL_TRY(remove());

    Indexes directories;
    Indexes contents;
    Indexes links;
    Indexes dirty;
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto type = now_.items[n].type;
      if (plan_.dirty[n]) dirty.push_back(n);
      if (plan_.actions[n] != Action::put) continue;
      if (type == Type::directory) {
        directories.push_back(n);
      } else {
        (type == Type::hard_link ? links : contents).push_back(n);
      }
    }
    const Skeleton skeleton(top_.directory.get(), where_, now_);
    Copier copier(std::move(from), {top_.directory.get(), where_, {}}, now_, options);
    CACHECTL_TRY(skeleton.make_directories(directories));
    CACHECTL_TRY(copier.fill(contents));
    CACHECTL_TRY(skeleton.link(links));
    CACHECTL_TRY(retouch());
    CACHECTL_TRY(skeleton.finish(dirty));
    CACHECTL_ASSIGN(auto snapshot, stamps());
    return Updated{copier.method(), copier.why_not(), copier.bytes(),     copier.files(),
                   plan_.removed,   plan_.changed,    std::move(snapshot)};
  }

 private:
  Result<void> look() {
    return walk(top_, where_, whatever_is_there(), [&](Found&& found) -> Result<void> {
      // Other file systems are not ours to change.
      if (found.status.st_dev != top_.status.st_dev) {
        return fail(Errc::refused,
                    item_name(where_, found.path) + ": another file system is mounted there",
                    "unmount it first");
      }
      is_.push_back(std::move(found));
      return {};
    });
  }

  Result<void> make_writable() {
    if (::geteuid() == 0) return {};
    Cursor cursor(top_.directory.get(), where_, O_PATH);
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto present = plan_.present[n];
      if (!plan_.dirty[n] || plan_.actions[n] == Action::put || present == Plan::npos) continue;
      const auto& found = is_[present];
      if ((found.status.st_mode & S_IRWXU) == S_IRWXU) continue;
      if (n == 0) {
        if (::fchmod(top_.directory.get(), S_IRWXU) == 0) continue;
        return fail(system_error("make writable " + where_));
      }
      CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(found.path)));
      if (!give_owner_rights(parent, std::string(name_of(found.path)).c_str())) {
        return fail(system_error("make writable " + cursor.name(found.path)));
      }
    }
    return {};
  }

  Result<void> remove() {
    Cursor cursor(top_.directory.get(), where_, O_PATH);
    for (const auto index : plan_.removals) {
      const auto& found = is_[index];
      CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(found.path)));
      const std::string name(name_of(found.path));
      if (S_ISDIR(found.status.st_mode)) {
        CACHECTL_TRY(remove_at(parent, cursor.name(parent_of(found.path)), name));
      } else if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) {
        return fail(system_error("remove " + cursor.name(found.path)));
      }
    }
    return {};
  }

  Result<void> retouch() {
    Cursor cursor(top_.directory.get(), where_, O_PATH);
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto& item = now_.items[n];
      if (plan_.actions[n] != Action::retouch || item.type != Type::file) continue;
      CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(item.path)));
      // Its owner may have no right to open it, but may point at it.
      const lock::Fd pointer(open_name(parent, std::string(name_of(item.path)).c_str(), O_PATH));
      struct stat status {};
      if (!pointer.valid() || ::fstat(pointer.get(), &status) != 0) {
        return fail(system_error("open " + cursor.name(item.path)));
      }
      if (!S_ISREG(status.st_mode) || status.st_ino != is_[plan_.present[n]].status.st_ino) {
        return fail(Errc::refused, cursor.name(item.path) + ": was changed during the update");
      }
      const auto path = "/proc/self/fd/" + std::to_string(pointer.get());
      const std::array<timespec, 2> times = {timespec{0, UTIME_OMIT}, item.modified.as_timespec()};
      if (::chmod(path.c_str(), item.mode) != 0 ||
          ::utimensat(AT_FDCWD, path.c_str(), times.data(), 0) != 0) {
        return fail(system_error("set mode and time of " + cursor.name(item.path)));
      }
    }
    return {};
  }

  /// Only what was changed is looked at again.
  Result<Snapshot> stamps() {
    Snapshot snapshot;
    snapshot.stamps.reserve(now_.items.size());
    Cursor cursor(top_.directory.get(), where_, O_PATH);
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto& path = now_.items[n].path;
      if (plan_.actions[n] == Action::keep && !plan_.dirty[n]) {
        snapshot.stamps.push_back(stamp_of(path, is_[plan_.present[n]].status));
        continue;
      }
      struct stat status {};
      int result = 0;
      if (n == 0) {
        result = ::fstat(top_.directory.get(), &status);
      } else {
        CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(path)));
        const std::string name(name_of(path));
        result = ::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW);
      }
      if (result != 0) return fail(system_error("stat " + cursor.name(path)));
      snapshot.stamps.push_back(stamp_of(path, status));
    }
    wait_for_next_tick(snapshot);
    return snapshot;
  }

  const Top& top_;
  std::string where_;
  const Filled& was_;
  Manifest now_;
  std::vector<Found> is_;
  Plan plan_;
};

/// Where there is nothing to go on from.
Result<Updated> refill(const lock::Directory& parent, const std::string& name,
                       const lock::Directory& from, const std::string& from_name,
                       const Manifest& now, const CopyOptions& options) {
  CACHECTL_ASSIGN(const auto removed, remove_tree(parent, name));
  CACHECTL_ASSIGN(const auto copied, copy_tree(from, from_name, now, parent, name, options));
  CACHECTL_ASSIGN(auto snapshot, take_snapshot(parent, name));
  return Updated{copied.method, copied.why_not, copied.bytes,       copied.files,
                 removed.items, removed.items,  std::move(snapshot)};
}

}  // namespace

Result<Updated> update_tree(const lock::Directory& parent, const std::string& name,
                            const Filled& was, const lock::Directory& from,
                            const std::string& from_name, const Manifest& now,
                            const CopyOptions& options) {
  CACHECTL_TRY(check(now, item_name(from.path(), from_name) + ": the manifest"));
  CACHECTL_TRY(check_name(name));
  CACHECTL_TRY(check_name(from_name));
  if (options.methods.empty()) return fail(Errc::usage, "no method to copy by is allowed");
  CACHECTL_ASSIGN(const auto there, parent.status(name));
  const bool directories = there && S_ISDIR(there->st_mode) && now.items[0].type == Type::directory;
  if (!directories) {
    const bool untouched =
        there && was.snapshot.stamps.size() == 1 && was.snapshot.stamps[0] == stamp_of({}, *there);
    if (untouched && was.manifest == now && now.items[0].checksum) {
      return Updated{options.methods[0], {}, 0, 0, 0, 0, was.snapshot};
    }
    return refill(parent, name, from, from_name, now, options);
  }
  CACHECTL_ASSIGN(const auto top, open_top(parent, name, whatever_is_there()));
  const auto from_where = item_name(from.path(), from_name);
  const lock::Fd from_top(open_name(from.descriptor(), from_name.c_str(), O_PATH | O_DIRECTORY));
  if (!from_top.valid()) return fail(open_directory_error(from_where, errno));
  Update update(top, item_name(parent.path(), name), was, now);
  return update.run({from_top.get(), from_where, {}}, options);
}

}  // namespace cachectl::tree
