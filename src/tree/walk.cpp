#include "src/tree/walk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <vector>

#include "lock/retry.hpp"
#include "src/tree/cursor.hpp"
#include "src/tree/listing.hpp"
#include "src/tree/manifest.hpp"

namespace cachectl::tree {

namespace {

struct Frame {
  std::size_t path_length;     ///< of the directory's path
  std::vector<Found> entries;  ///< with names in place of paths
  std::size_t next = 0;
};

/// nullopt-like empty type 0: neither file, directory nor link.
const char* special_type(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
      return nullptr;
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
    case S_IFBLK:
      return "a device";
    default:
      return "of an unknown type";
  }
}

Result<std::string> read_link(int directory, const std::string& name) {
  std::array<char, 4096> buffer;
  const auto length = ::readlinkat(directory, name.c_str(), buffer.data(), buffer.size());
  if (length < 0) return fail(system_error("read the link"));
  // Linux keeps less than this; one that fills it may be cut off.
  if (static_cast<std::size_t>(length) == buffer.size()) {
    return fail(system_error("read the link", ENAMETOOLONG));
  }
  return std::string(buffer.data(), static_cast<std::size_t>(length));
}

bool lacks_rights(const struct stat& status) {
  // Root needs none; asking it to change them would only touch the directory.
  constexpr mode_t kNeeded = S_IRUSR | S_IXUSR;
  return S_ISDIR(status.st_mode) && (status.st_mode & kNeeded) != kNeeded && ::geteuid() != 0;
}

class Walk {
 public:
  Walk(const Top& top, const std::string& where, const WalkOptions& options,
       const std::function<Result<void>(Found&&)>& visit)
      : options_(options), visit_(visit), cursor_(top.directory.get(), where, O_RDONLY) {}

  Result<void> run(const Top& top) {
    CACHECTL_TRY(visit_(Found{{}, top.status, {}}));
    if (!S_ISDIR(top.status.st_mode)) return {};
    CACHECTL_TRY(enter());
    while (!frames_.empty()) {
      auto& frame = frames_.back();
      path_.resize(frame.path_length);
      if (frame.next == frame.entries.size()) {
        frames_.pop_back();
        continue;
      }
      auto found = std::move(frame.entries[frame.next++]);
      if (!path_.empty()) path_ += '/';
      path_ += found.path;
      found.path = path_;
      const bool directory = S_ISDIR(found.status.st_mode);
      CACHECTL_TRY(visit_(std::move(found)));
      if (directory) CACHECTL_TRY(enter());
    }
    return {};
  }

 private:
  /// Lists the directory at path_.
  Result<void> enter() {
    if (frames_.size() >= kDeepest) {
      return fail(Errc::refused, cursor_.name(path_) + ": the tree has more than " +
                                     std::to_string(kDeepest) + " levels");
    }
    CACHECTL_ASSIGN(const int directory, cursor_.at(path_));
    Frame frame{path_.size(), {}};
    CACHECTL_TRY(for_each_name(
        directory, [&] { return cursor_.name(path_); },
        [&](const char* name, unsigned char) { return add(frame, directory, name); }));
    std::sort(frame.entries.begin(), frame.entries.end(),
              [](const Found& left, const Found& right) { return left.path < right.path; });
    frames_.push_back(std::move(frame));
    return {};
  }

  Result<void> add(Frame& frame, int directory, const char* name) {
    Found found{name, {}, {}};
    const auto what = [&] {
      return cursor_.name(path_.empty() ? std::string(name) : path_ + "/" + name);
    };
    auto& status = found.status;
    if (lock::retry([&] { return ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW); }) !=
        0) {
      if (errno == ENOENT) return {};  // removed just now
      return fail(system_error("stat " + what()));
    }
    if (const char* type = special_type(status.st_mode);
        type != nullptr && options_.refuse_special) {
      return fail(Errc::refused, what() + ": is " + type,
                  "a tree has files, directories and links only");
    }
    if (S_ISLNK(status.st_mode)) {
      auto target = read_link(directory, found.path);
      if (!target) return fail(std::move(target).error().within(what()));
      found.target = std::move(*target);
    }
    if (options_.unreadable == Unreadable::make_readable && lacks_rights(status) &&
        !give_owner_rights(directory, name)) {
      return fail(system_error("make readable " + what()));
    }
    frame.entries.push_back(std::move(found));
    return {};
  }

  WalkOptions options_;
  const std::function<Result<void>(Found&&)>& visit_;
  Cursor cursor_;
  std::string path_;
  std::vector<Frame> frames_;
};

}  // namespace

Result<Top> open_top(const lock::Directory& parent, const std::string& name,
                     const WalkOptions& options) {
  CACHECTL_TRY(check_name(name));
  const int at = parent.descriptor();
  const auto what = item_name(parent.path(), name);
  Top top;
  if (lock::retry([&] { return ::fstatat(at, name.c_str(), &top.status, AT_SYMLINK_NOFOLLOW); }) !=
      0) {
    return fail(system_error("stat " + what));
  }
  if (S_ISDIR(top.status.st_mode)) {
    if (options.unreadable == Unreadable::make_readable && lacks_rights(top.status) &&
        !give_owner_rights(at, name.c_str())) {
      return fail(system_error("make readable " + what));
    }
    top.directory = lock::Fd(open_name(at, name.c_str(), O_RDONLY | O_DIRECTORY));
    if (!top.directory.valid()) return fail(open_directory_error(what, errno));
    CACHECTL_ASSIGN(top.status, lock::status_of(top.directory.get(), what));
  } else if (options.refuse_special && !S_ISREG(top.status.st_mode)) {
    const char* type = special_type(top.status.st_mode);
    return fail(Errc::refused,
                what + ": is " + (type == nullptr ? "a symbolic link" : std::string(type)),
                "a tree is a regular file or a directory");
  }
  return top;
}

Result<void> walk(const Top& top, const std::string& where, const WalkOptions& options,
                  const std::function<Result<void>(Found&&)>& visit) {
  return Walk(top, where, options, visit).run(top);
}

}  // namespace cachectl::tree
