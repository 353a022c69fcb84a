#include "src/tree/skeleton.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lock/retry.hpp"

namespace cachectl::tree {

namespace {

using ItemTimes = std::array<timespec, 2>;

ItemTimes times_of(const Item& item) {
  return {timespec{0, UTIME_OMIT}, item.modified.as_timespec()};
}

}  // namespace

Parts parts_of(const Manifest& manifest) {
  Parts parts;
  for (std::size_t i = 0; i < manifest.items.size(); ++i) {
    switch (manifest.items[i].type) {
      case Type::directory:
        if (i > 0) parts.directories.push_back(i);
        break;
      case Type::hard_link:
        parts.links.push_back(i);
        break;
      case Type::file:
      case Type::symlink:
        parts.contents.push_back(i);
        break;
    }
  }
  return parts;
}

Result<void> Skeleton::make_directories(const Indexes& items) const {
  Cursor cursor(top_, where_, O_PATH);
  for (const auto index : items) {
    const auto& path = manifest_->items[index].path;
    CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(path)));
    const std::string name(name_of(path));
    if (lock::retry([&] { return ::mkdirat(parent, name.c_str(), S_IRWXU); }) != 0) {
      return fail(system_error("mkdir " + cursor.name(path)));
    }
    // A umask may take our own rights. Nobody else can have come to its place: the
    // directory it is in is ours alone.
    if (::faccessat(parent, name.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0 &&
        !give_owner_rights(parent, name.c_str())) {
      return fail(system_error("chmod " + cursor.name(path)));
    }
  }
  return {};
}

Result<void> Skeleton::link(const Indexes& items) const {
  Cursor firsts(top_, where_, O_PATH);
  Cursor cursor(top_, where_, O_PATH);
  for (const auto index : items) {
    const auto& item = manifest_->items[index];
    CACHECTL_ASSIGN(const int from, firsts.at(parent_of(item.target)));
    CACHECTL_ASSIGN(const int to, cursor.at(parent_of(item.path)));
    const std::string from_name(name_of(item.target));
    const std::string to_name(name_of(item.path));
    if (lock::retry([&] { return ::linkat(from, from_name.c_str(), to, to_name.c_str(), 0); }) !=
        0) {
      return fail(system_error("link " + cursor.name(item.path)));
    }
  }
  return {};
}

Result<void> Skeleton::finish(const Indexes& items) const {
  Cursor cursor(top_, where_, O_PATH);
  // std::views::reverse is beyond clang 14.
  for (auto index = items.rbegin();  // NOLINT(modernize-loop-convert)
       index != items.rend(); ++index) {
    const auto& item = manifest_->items[*index];
    lock::Fd opened;
    if (!item.path.empty()) {
      CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(item.path)));
      const std::string name(name_of(item.path));
      // By a descriptor: there is no fchmodat that does not follow links.
      opened = lock::Fd(open_name(parent, name.c_str(), O_RDONLY | O_DIRECTORY));
      if (!opened.valid()) return fail(open_directory_error(cursor.name(item.path), errno));
    }
    const int directory = item.path.empty() ? top_ : opened.get();
    CACHECTL_TRY(dress(directory, item, cursor.name(item.path)));
  }
  return {};
}

Result<lock::Fd> make_top(const lock::Directory& in, const std::string& name) {
  const auto what = item_name(in.path(), name);
  const int at = in.descriptor();
  if (lock::retry([&] { return ::mkdirat(at, name.c_str(), S_IRWXU); }) != 0) {
    return fail(system_error("mkdir " + what));
  }
  lock::Fd top(open_name(at, name.c_str(), O_RDONLY | O_DIRECTORY));
  if (!top.valid() && errno == EACCES && give_owner_rights(at, name.c_str())) {
    top = lock::Fd(open_name(at, name.c_str(), O_RDONLY | O_DIRECTORY));
  }
  if (!top.valid()) return fail(open_directory_error(what, errno));
  return top;
}

Result<void> make_symlink(Cursor& to, const Item& item) {
  CACHECTL_ASSIGN(const int directory, to.at(parent_of(item.path)));
  const std::string name(name_of(item.path));
  const auto times = times_of(item);
  if (lock::retry([&] { return ::symlinkat(item.target.c_str(), directory, name.c_str()); }) != 0) {
    return fail(system_error("make the link " + to.name(item.path)));
  }
  if (::utimensat(directory, name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return fail(system_error("set the time of " + to.name(item.path)));
  }
  return {};
}

Result<lock::Fd> make_file(Cursor& to, const std::string& path) {
  CACHECTL_ASSIGN(const int directory, to.at(parent_of(path)));
  const std::string name(name_of(path));
  lock::Fd file(open_name(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR));
  if (!file.valid()) return fail(system_error("create " + to.name(path)));
  return file;
}

Result<void> dress(int file, const Item& item, const std::string& what) {
  if (lock::retry([&] { return ::fchmod(file, item.mode); }) != 0) {
    return fail(system_error("chmod " + what));
  }
  const auto times = times_of(item);
  if (lock::retry([&] { return ::futimens(file, times.data()); }) != 0) {
    return fail(system_error("set the time of " + what));
  }
  return {};
}

}  // namespace cachectl::tree
