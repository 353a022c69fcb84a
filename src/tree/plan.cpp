#include "src/tree/plan.hpp"

#include <sys/stat.h>

#include <map>
#include <string_view>

#include "src/tree/snapshot.hpp"

namespace cachectl::tree {

namespace {

/// All names of each file that has several, by the first of them.
using Names = std::map<std::string_view, std::vector<std::string_view>>;

Names names_of(const Manifest& manifest) {
  Names names;
  for (const auto& item : manifest.items) {
    if (item.type == Type::hard_link) names[item.target].push_back(item.path);
  }
  return names;
}

bool same_content(const Item& one, const Item& other) {
  if (one.size != other.size) return false;
  if (one.checksum && other.checksum) return *one.checksum == *other.checksum;
  return one.modified == other.modified;
}

bool same_attributes(const Item& one, const Item& other) {
  return one.mode == other.mode && one.modified == other.modified;
}

bool same_type(const Item& item, const struct stat& status) {
  switch (item.type) {
    case Type::directory:
      return S_ISDIR(status.st_mode);
    case Type::symlink:
      return S_ISLNK(status.st_mode);
    case Type::file:
    case Type::hard_link:
      return S_ISREG(status.st_mode);
  }
  return false;
}

class Planning {
 public:
  Planning(const Filled& was, const std::vector<Found>& is, const Manifest& now)
      : was_(was), is_(is), now_(now), were_(is.size()) {
    plan_.actions.assign(now.items.size(), Action::put);
    plan_.dirty.assign(now.items.size(), false);
    plan_.present.assign(now.items.size(), Plan::npos);
  }

  Plan run() && {
    find_untouched();
    find_present();
    find_parents();
    decide_contents();
    decide_directories();
    find_removals();
    return std::move(plan_);
  }

 private:
  [[nodiscard]] std::size_t index_of(const Item* item) const {
    return static_cast<std::size_t>(item - now_.items.data());
  }

  /// For each item that is there and as it was filled, what it was.
  void find_untouched() {
    const auto& stamps = was_.snapshot.stamps;
    std::size_t s = 0;
    for (std::size_t i = 0; i < is_.size(); ++i) {
      const auto& found = is_[i];
      for (; s < stamps.size() && path_less(stamps[s].path, found.path); ++s) ++plan_.changed;
      const bool known = s < stamps.size() && stamps[s].path == found.path;
      if (known && stamps[s] == stamp_of(found.path, found.status)) {
        const auto* item = was_.manifest.find(found.path);
        // A manifest and a snapshot that do not belong together make everything touched.
        if (item != nullptr && same_type(*item, found.status)) were_[i] = item;
      } else {
        ++plan_.changed;
      }
      if (known) ++s;
    }
    plan_.changed += stamps.size() - s;
  }

  void find_present() {
    std::size_t i = 0;
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto& path = now_.items[n].path;
      while (i < is_.size() && path_less(is_[i].path, path)) ++i;
      if (i < is_.size() && is_[i].path == path) plan_.present[n] = i;
    }
  }

  void find_parents() {
    parents_.assign(now_.items.size(), 0);
    Indexes open;
    for (std::size_t n = 1; n < now_.items.size(); ++n) {
      if (now_.items[n - 1].type == Type::directory) open.push_back(n - 1);
      const auto parent = parent_of(now_.items[n].path);
      while (now_.items[open.back()].path != parent) open.pop_back();
      parents_[n] = open.back();
    }
  }

  /// What an item of the new manifest was, if it is there and untouched.
  [[nodiscard]] const Item* untouched(std::size_t n) const {
    return plan_.present[n] == Plan::npos ? nullptr : were_[plan_.present[n]];
  }

  void decide_contents() {
    const auto before = names_of(was_.manifest);
    const auto after = names_of(now_);
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto& item = now_.items[n];
      const auto* old = untouched(n);
      if (item.type == Type::symlink && old != nullptr && old->type == Type::symlink &&
          old->target == item.target && old->modified == item.modified) {
        plan_.actions[n] = Action::keep;
      }
      if (item.type == Type::file && old != nullptr) {
        const auto action = decide_file(n, item, *old, before, after);
        plan_.actions[n] = action;
        if (const auto names = after.find(item.path); names != after.end()) {
          for (const auto name : names->second) plan_.actions[index_of(now_.find(name))] = action;
        }
      }
    }
    // What is put changes the directory it is in.
    for (std::size_t n = 1; n < now_.items.size(); ++n) {
      const bool directory = now_.items[n].type == Type::directory;
      if (!directory && plan_.actions[n] == Action::put) plan_.dirty[parents_[n]] = true;
    }
  }

  Action decide_file(std::size_t n, const Item& item, const Item& old, const Names& before,
                     const Names& after) const {
    if (old.type != Type::file || !same_content(old, item)) return Action::put;
    const auto old_names = before.find(item.path);
    const auto names = after.find(item.path);
    const bool several = names != after.end();
    if (several != (old_names != before.end())) return Action::put;
    nlink_t count = 1;
    if (several) {
      if (names->second != old_names->second) return Action::put;
      for (const auto name : names->second) {
        if (untouched(index_of(now_.find(name))) == nullptr) return Action::put;
      }
      count += names->second.size();
    }
    if (same_attributes(old, item)) return Action::keep;
    // A file that somebody else has too, the original perhaps, is not to be changed.
    return is_[plan_.present[n]].status.st_nlink == count ? Action::retouch : Action::put;
  }

  void decide_directories() {
    for (std::size_t n = 0; n < now_.items.size(); ++n) {
      const auto& item = now_.items[n];
      if (item.type != Type::directory) continue;
      const auto present = plan_.present[n];
      if (present == Plan::npos || !S_ISDIR(is_[present].status.st_mode)) {
        plan_.dirty[n] = true;
        if (n > 0) plan_.dirty[parents_[n]] = true;
        continue;
      }
      plan_.actions[n] = Action::keep;
      // One that the walk could not enter was given other rights by it.
      constexpr mode_t kEnter = S_IRUSR | S_IXUSR;
      const auto* old = were_[present];
      if (old == nullptr || !same_attributes(*old, item) ||
          (is_[present].status.st_mode & kEnter) != kEnter) {
        plan_.dirty[n] = true;
      }
    }
  }

  void find_removals() {
    std::size_t n = 0;
    std::string_view gone;  // the directory that was removed last, with all below it
    bool any_gone = false;
    for (std::size_t i = 0; i < is_.size(); ++i) {
      const std::string_view path = is_[i].path;
      while (n < now_.items.size() && path_less(now_.items[n].path, path)) ++n;
      const bool wanted = n < now_.items.size() && now_.items[n].path == path;
      if (!wanted) ++plan_.removed;
      if (any_gone && path.size() > gone.size() && path.starts_with(gone) &&
          path[gone.size()] == '/') {
        continue;
      }
      if (wanted && plan_.actions[n] != Action::put) continue;
      plan_.removals.push_back(i);
      any_gone = true;
      gone = path;
      // The directory it is in stays, or it would be gone itself.
      if (const auto* parent = now_.find(parent_of(path))) plan_.dirty[index_of(parent)] = true;
    }
  }

  const Filled& was_;
  const std::vector<Found>& is_;
  const Manifest& now_;
  std::vector<const Item*> were_;
  Indexes parents_;
  Plan plan_;
};

}  // namespace

Plan plan_update(const Filled& was, const std::vector<Found>& is, const Manifest& now) {
  return Planning(was, is, now).run();
}

}  // namespace cachectl::tree
