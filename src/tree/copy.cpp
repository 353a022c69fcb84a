#include "src/tree/copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "lock/retry.hpp"
#include "src/tree/copier.hpp"
#include "src/tree/remove.hpp"
#include "src/tree/snapshot.hpp"
#include "src/tree/subvolume.hpp"
#include "src/tree/walk.hpp"

namespace cachectl::tree {

namespace {

/// Nullopt: the tree is no subvolume, or more than one. What the snapshot has is compared with
/// the manifest, as its files were not looked at one by one.
Result<std::optional<Outcome>> copy_as_a_whole(const lock::Directory& from,
                                               const std::string& from_name, Manifest manifest,
                                               const lock::Directory& to,
                                               const std::string& to_name, Checksums checksums) {
  const lock::Fd top(open_name(from.descriptor(), from_name.c_str(), O_RDONLY | O_DIRECTORY));
  if (!top.valid()) return fail(open_directory_error(item_name(from.path(), from_name), errno));
  CACHECTL_ASSIGN(const bool made, snapshot_subvolume(top.get(), to, to_name));
  if (!made) return std::optional<Outcome>();
  CACHECTL_ASSIGN(auto found,
                  checksums == Checksums::yes ? scan(to, to_name) : list_tree(to, to_name));
  auto& items = found.manifest.items;
  for (std::size_t i = 0; i < std::min(items.size(), manifest.items.size()); ++i) {
    auto& ours = items[i].checksum;
    auto& theirs = manifest.items[i].checksum;
    if (checksums == Checksums::no) ours = theirs;
    if (!theirs) theirs = ours;
  }
  if (found.manifest != manifest) {
    CACHECTL_TRY(remove_tree(to, to_name));
    return std::optional<Outcome>();
  }
  const auto bytes = manifest.bytes();
  const auto files = manifest.files();
  return std::optional(Outcome{Method::snapshot, {}, bytes, files, std::move(manifest)});
}

Result<Outcome> copy_listed(const lock::Directory& from, const std::string& from_name,
                            Manifest manifest, const lock::Directory& to,
                            const std::string& to_name, const CopyOptions& options) {
  CACHECTL_TRY(check_name(from_name));
  CACHECTL_TRY(check_name(to_name));
  const bool directory = manifest.items[0].type == Type::directory;
  const auto& methods = options.methods;
  const bool may_be_whole =
      std::find(methods.begin(), methods.end(), Method::snapshot) != methods.end();
  if (may_be_whole && directory) {
    CACHECTL_ASSIGN(auto whole,
                    copy_as_a_whole(from, from_name, manifest, to, to_name, options.checksums));
    if (whole) return std::move(*whole);
  }
  if (may_be_whole && methods.size() == 1) {
    return fail(Errc::unsupported,
                item_name(from.path(), from_name) + ": is no subvolume of btrfs, or more than one");
  }
  lock::Fd from_top;
  lock::Fd to_top;
  End from_end{from.descriptor(), from.path(), from_name};
  End to_end{to.descriptor(), to.path(), to_name};
  if (directory) {
    const auto what = item_name(from.path(), from_name);
    from_top = lock::Fd(open_name(from.descriptor(), from_name.c_str(), O_PATH | O_DIRECTORY));
    if (!from_top.valid()) return fail(open_directory_error(what, errno));
    CACHECTL_ASSIGN(to_top, make_top(to, to_name));
    from_end = {from_top.get(), what, {}};
    to_end = {to_top.get(), item_name(to.path(), to_name), {}};
  }

  auto parts = parts_of(manifest);
  const Skeleton skeleton(to_end.top, to_end.where, manifest);
  Copier copier(std::move(from_end), std::move(to_end), manifest, options);
  CACHECTL_TRY(skeleton.make_directories(parts.directories));
  CACHECTL_TRY(copier.fill(parts.contents));
  CACHECTL_TRY(skeleton.link(parts.links));
  if (directory) parts.directories.insert(parts.directories.begin(), 0);
  CACHECTL_TRY(skeleton.finish(parts.directories));
  return Outcome{copier.method(), copier.why_not(), copier.bytes(), copier.files(),
                 std::move(manifest)};
}

}  // namespace

std::string_view name_of(Method method) {
  switch (method) {
    case Method::snapshot:
      return "snapshot";
    case Method::reflink:
      return "reflink";
    case Method::hard_link:
      return "hardlink";
    case Method::copy:
      return "copy";
  }
  return "unknown";
}

Result<Outcome> copy_tree(const lock::Directory& from, const std::string& from_name,
                          const lock::Directory& to, const std::string& to_name,
                          const CopyOptions& options) {
  CACHECTL_ASSIGN(auto listed, list_tree(from, from_name));
  return copy_listed(from, from_name, std::move(listed.manifest), to, to_name, options);
}

Result<Outcome> copy_tree(const lock::Directory& from, const std::string& from_name,
                          const Manifest& manifest, const lock::Directory& to,
                          const std::string& to_name, const CopyOptions& options) {
  CACHECTL_TRY(check(manifest, item_name(from.path(), from_name) + ": the manifest"));
  return copy_listed(from, from_name, manifest, to, to_name, options);
}

}  // namespace cachectl::tree
