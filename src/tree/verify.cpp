// verify() and changed_since(): what is there, merged with what should be.
#include <fcntl.h>

#include <cerrno>

#include "src/tree/scan.hpp"
#include "src/tree/snapshot.hpp"
#include "src/tree/walk.hpp"

namespace cachectl::tree {

namespace {

/// Two sorted lists side by side: `both` for what is in both, else `left` or `right`.
template <typename Left, typename Right, typename OnLeft, typename OnRight, typename OnBoth>
void merge(const std::vector<Left>& left, const std::vector<Right>& right, OnLeft on_left,
           OnRight on_right, OnBoth on_both) {
  auto l = left.begin();
  auto r = right.begin();
  while (l != left.end() || r != right.end()) {
    if (r == right.end() || (l != left.end() && path_less(l->path, r->path))) {
      on_left(*l++);
    } else if (l == left.end() || path_less(r->path, l->path)) {
      on_right(*r++);
    } else {
      on_both(*l++, *r++);
    }
  }
}

bool is_file(const Item& item) { return item.type == Type::file || item.type == Type::hard_link; }

void compare(const Item& wanted, const Item& is, std::vector<Deviation>& deviations) {
  const auto add = [&](Difference difference) { deviations.push_back({wanted.path, difference}); };
  if (wanted.type != is.type && !(is_file(wanted) && is_file(is))) return add(Difference::type);
  const bool link = wanted.type == Type::symlink;
  if (link && wanted.target != is.target) add(Difference::target);
  if (!link && (wanted.type != is.type || wanted.target != is.target)) add(Difference::links);
  // Without a checksum on either side, or where it is said with another name.
  if (wanted.size != is.size ||
      (wanted.checksum && is.checksum && wanted.checksum != is.checksum)) {
    add(Difference::content);
  }
  if (wanted.mode != is.mode) add(Difference::mode);
  if (wanted.modified != is.modified) add(Difference::modified);
}

}  // namespace

std::string_view name_of(Difference difference) {
  switch (difference) {
    case Difference::missing:
      return "missing";
    case Difference::extra:
      return "extra";
    case Difference::type:
      return "type";
    case Difference::content:
      return "content";
    case Difference::mode:
      return "mode";
    case Difference::modified:
      return "modified";
    case Difference::target:
      return "target";
    case Difference::links:
      return "links";
  }
  return "unknown";
}

Result<std::vector<Deviation>> verify(const lock::Directory& parent, const std::string& name,
                                      const Manifest& manifest, const ScanOptions& options) {
  CACHECTL_TRY(check(manifest, "the manifest"));
  std::vector<Deviation> deviations;
  auto scanned = scan(parent, name, options);
  if (!scanned) {
    CACHECTL_ASSIGN(const auto status, parent.status(name));
    if (status) return fail(std::move(scanned).error());
    deviations.push_back({"", Difference::missing});
    return deviations;
  }
  merge(
      manifest.items, scanned->manifest.items,
      [&](const Item& item) {
        deviations.push_back({item.path, Difference::missing});
      },
      [&](const Item& item) {
        deviations.push_back({item.path, Difference::extra});
      },
      [&](const Item& wanted, const Item& is) { compare(wanted, is, deviations); });
  return deviations;
}

Result<std::vector<Changed>> changed_since(const lock::Directory& parent, const std::string& name,
                                           const Snapshot& snapshot) {
  WalkOptions options;
  options.refuse_special = false;
  Snapshot now;
  const auto top = open_top(parent, name, options);
  if (!top && top.error().system_error != ENOENT) return fail(top.error());
  if (top) {
    CACHECTL_TRY(walk(*top, parent.path_of(name), options, [&](Found&& found) -> Result<void> {
      now.stamps.push_back(stamp_of(std::move(found.path), found.status));
      return {};
    }));
  }
  std::vector<Changed> changes;
  merge(
      snapshot.stamps, now.stamps,
      [&](const Stamp& stamp) {
        changes.push_back({stamp.path, Change::removed});
      },
      [&](const Stamp& stamp) {
        changes.push_back({stamp.path, Change::added});
      },
      [&](const Stamp& before, const Stamp& after) {
        if (before != after) changes.push_back({before.path, Change::changed});
      });
  return changes;
}

}  // namespace cachectl::tree
