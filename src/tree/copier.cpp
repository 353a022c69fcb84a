#include "src/tree/copier.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "lock/retry.hpp"
#include "src/tree/transfer.hpp"
#include "src/tree/workers.hpp"

namespace cachectl::tree {

namespace {

using Times = std::array<timespec, 2>;

Times times_of(const Item& item) { return {timespec{0, UTIME_OMIT}, item.modified.as_timespec()}; }

/// The file system, or this file, cannot do it: another method may. All else is an error.
bool is_impossible(Method method, int error) {
  switch (error) {
    case EXDEV:
    case EPERM:  // a file of another user, or a sandbox
    case EOPNOTSUPP:
    case ENOSYS:
      return true;
    case EMLINK:
      return method == Method::hard_link;
    case EINVAL:
    case ENOTTY:
    case ETXTBSY:
      return method == Method::reflink;
    default:
      return false;
  }
}

tl::unexpected<Error> not_as_listed(const std::string& what) {
  return fail(Errc::corrupt, what + ": is not, or no longer, what the manifest says");
}

}  // namespace

struct Copier::Thread {
  Thread(const End& from_end, const End& to_end)
      : from(from_end.top, from_end.where, O_PATH), to(to_end.top, to_end.where, O_PATH) {}

  std::span<std::byte> block() {
    // Without initialization, and only where it is needed.
    if (!memory) memory.reset(new std::byte[kBlock]);  // NOLINT(modernize-make-unique)
    return {memory.get(), kBlock};
  }

  Cursor from;
  Cursor to;
  std::unique_ptr<std::byte[]> memory;
};

Copier::Copier(End from, End to, Manifest& manifest, CopyOptions options)
    : from_(std::move(from)),
      to_(std::move(to)),
      manifest_(manifest),
      options_(std::move(options)),
      moved_([this](std::uint64_t bytes) { report(bytes, 0); }) {
  auto& methods = options_.methods;
  methods.erase(std::remove(methods.begin(), methods.end(), Method::snapshot), methods.end());
}

const std::string& Copier::from_path(const Item& item) const {
  return item.path.empty() ? from_.file_name : item.path;
}

const std::string& Copier::to_path(const Item& item) const {
  return item.path.empty() ? to_.file_name : item.path;
}

Method Copier::method() const {
  return options_.methods[std::min(first_method_, options_.methods.size() - 1)];
}

void Copier::report(std::uint64_t bytes, std::uint64_t files) {
  if (!options_.progress) {
    bytes_ += bytes;
    files_ += files;
    return;
  }
  const std::lock_guard guard(progress_);
  bytes_ += bytes;
  files_ += files;
  options_.progress({bytes_, files_});
}

Result<void> Copier::make_directories(const Indexes& items) {
  Cursor cursor(to_.top, to_.where, O_PATH);
  for (const auto index : items) {
    const auto& path = manifest_.items[index].path;
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

Result<void> Copier::fill(const Indexes& items) {
  if (options_.methods.empty()) return fail(Errc::usage, "no method to copy by is allowed");
  auto first = items.end();
  if (!decided_) {
    first = std::find_if(items.begin(), items.end(), [&](std::size_t index) {
      return manifest_.items[index].type == Type::file && manifest_.items[index].size > 0;
    });
  }
  if (first != items.end()) {
    Thread thread(from_, to_);
    CACHECTL_TRY(put(thread, manifest_.items[*first]));
    decided_ = true;
  }
  std::uint64_t bytes = 0;
  for (const auto index : items) bytes += manifest_.items[index].size;
  Share share(items.size());
  const auto threads = threads_for(items.size(), bytes, options_.jobs);
  return run_workers(threads, share, [&]() -> Result<void> {
    Thread thread(from_, to_);
    while (true) {
      const auto part = share.take();
      if (part.first == part.end) return {};
      for (auto i = part.first; i < part.end; ++i) {
        if (first != items.end() && items[i] == *first) continue;
        CACHECTL_TRY(put(thread, manifest_.items[items[i]]));
      }
    }
  });
}

Result<void> Copier::put(Thread& thread, Item& item) {
  if (item.type == Type::symlink) return put_link(thread, item);
  CACHECTL_TRY(put_file(thread, item));
  report(0, 1);
  return {};
}

Result<void> Copier::put_link(Thread& thread, const Item& item) {
  CACHECTL_ASSIGN(const int directory, thread.to.at(parent_of(item.path)));
  const std::string name(name_of(item.path));
  const auto times = times_of(item);
  if (lock::retry([&] { return ::symlinkat(item.target.c_str(), directory, name.c_str()); }) != 0) {
    return fail(system_error("make the link " + thread.to.name(item.path)));
  }
  if (::utimensat(directory, name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return fail(system_error("set the time of " + thread.to.name(item.path)));
  }
  return {};
}

void Copier::give_up(Method method, int error) {
  // Only the first file decides, before there are other threads.
  if (decided_) return;
  ++first_method_;
  if (!why_not_.empty()) why_not_ += "; ";
  why_not_ +=
      std::string(name_of(method)) + ": " + std::strerror(error);  // NOLINT(concurrency-mt-unsafe)
}

Error Copier::none_works(const std::string& what) const {
  // Before one has worked, it is the tree that cannot be copied, and not this file.
  if (!decided_) return {Errc::unsupported, 0, why_not_, {}};
  return {Errc::unsupported,
          0,
          what + ": cannot be copied by " + std::string(name_of(options_.methods.back())),
          {}};
}

Result<void> Copier::put_file(Thread& thread, Item& item) {
  for (auto i = first_method_; i < options_.methods.size(); ++i) {
    if (options_.methods[i] != Method::hard_link) return clone_or_copy(thread, item, i);
    CACHECTL_ASSIGN(const bool shared, share_file(thread, item));
    if (shared) return {};
  }
  return fail(none_works(thread.from.name(item.path)));
}

Result<bool> Copier::share_file(Thread& thread, Item& item) {
  const auto& path = from_path(item);
  CACHECTL_ASSIGN(const int from, thread.from.at(parent_of(path)));
  CACHECTL_ASSIGN(const int to, thread.to.at(parent_of(to_path(item))));
  const std::string from_name(name_of(path));
  const std::string to_name(name_of(to_path(item)));
  if (lock::retry([&] { return ::linkat(from, from_name.c_str(), to, to_name.c_str(), 0); }) != 0) {
    if (!is_impossible(Method::hard_link, errno)) {
      return fail(system_error("link " + thread.to.name(item.path)));
    }
    give_up(Method::hard_link, errno);
    return false;
  }
  // What is shared must not be changed; so it has to be what is wanted. It may also have
  // become a link in between, which is then shared in turn.
  struct stat status {};
  if (::fstatat(to, to_name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail(system_error("stat " + thread.to.name(item.path)));
  }
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) != item.size ||
      (status.st_mode & 07777U) != item.mode || FileTime::of(status.st_mtim) != item.modified) {
    ::unlinkat(to, to_name.c_str(), 0);
    return not_as_listed(thread.from.name(item.path));
  }
  if (options_.checksums == Checksums::yes) {
    CACHECTL_ASSIGN(const auto opened, open_content(thread.from, path));
    CACHECTL_TRY(hash(thread, item, opened));
  }
  report(item.size, 0);
  return true;
}

Result<void> Copier::clone_or_copy(Thread& thread, Item& item, std::size_t first_method) {
  CACHECTL_ASSIGN(const auto from, open_content(thread.from, from_path(item)));
  if (static_cast<std::uint64_t>(from.status.st_size) != item.size) {
    return not_as_listed(thread.from.name(item.path));
  }
  CACHECTL_ASSIGN(const int directory, thread.to.at(parent_of(to_path(item))));
  const std::string name(name_of(to_path(item)));
  const lock::Fd to(
      open_name(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR));
  if (!to.valid()) return fail(system_error("create " + thread.to.name(item.path)));
  auto copied = content(thread, item, from, to.get(), first_method);
  if (!copied && copied.error().code == Errc::unsupported) {
    return fail(none_works(thread.from.name(item.path)));
  }
  if (!copied) return fail(std::move(copied).error().within(thread.from.name(item.path)));
  // After the content: writing takes the set-user-ID bit away, and sets the time.
  if (lock::retry([&] { return ::fchmod(to.get(), item.mode); }) != 0) {
    return fail(system_error("chmod " + thread.to.name(item.path)));
  }
  const auto times = times_of(item);
  if (lock::retry([&] { return ::futimens(to.get(), times.data()); }) != 0) {
    return fail(system_error("set the time of " + thread.to.name(item.path)));
  }
  return {};
}

Result<void> Copier::content(Thread& thread, Item& item, const Content& from, int to,
                             std::size_t first_method) {
  const bool hashing = options_.checksums == Checksums::yes;
  if (item.size == 0)
    return hashing ? take_checksum(thread, item, checksum_of({})) : Result<void>();
  for (auto i = first_method; i < options_.methods.size(); ++i) {
    const auto method = options_.methods[i];
    if (method == Method::reflink) {
      if (lock::retry([&] { return ::ioctl(to, FICLONE, from.file.get()); }) == 0) {
        report(item.size, 0);
        return hashing ? hash(thread, item, from) : Result<void>();
      }
      if (!is_impossible(method, errno)) return fail(system_error("clone"));
      give_up(method, errno);
    } else if (method == Method::copy) {
      Checksum sum;
      CACHECTL_TRY(transfer({&from, to, thread.block(), hashing ? &sum : nullptr, &moved_}));
      return hashing ? take_checksum(thread, item, sum.value()) : Result<void>();
    }
  }
  return fail(none_works({}));
}

Result<void> Copier::hash(Thread& thread, Item& item, const Content& from) const {
  // The original is read and not the clone: its pages are the ones in memory. It must be
  // the same before the clone and after the reading.
  CACHECTL_ASSIGN(const auto sum, sum_of(from.file.get(), thread.block()));
  CACHECTL_ASSIGN(const auto after, lock::status_of(from.file.get(), "it"));
  if (sum.size != item.size || FileTime::of(after.st_mtim) != FileTime::of(from.status.st_mtim)) {
    return fail(Errc::corrupt, "was changed while it was copied");
  }
  return take_checksum(thread, item, sum.checksum);
}

Result<void> Copier::take_checksum(const Thread& thread, Item& item, std::uint64_t checksum) const {
  if (item.checksum && *item.checksum != checksum) {
    return not_as_listed(thread.from.name(item.path));
  }
  item.checksum = checksum;
  return {};
}

Result<void> Copier::link(const Indexes& items) {
  Cursor firsts(to_.top, to_.where, O_PATH);
  Cursor cursor(to_.top, to_.where, O_PATH);
  for (const auto index : items) {
    const auto& item = manifest_.items[index];
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

Result<void> Copier::finish(const Indexes& items) {
  Cursor cursor(to_.top, to_.where, O_PATH);
  // std::views::reverse is beyond clang 14.
  for (auto index = items.rbegin();  // NOLINT(modernize-loop-convert)
       index != items.rend(); ++index) {
    const auto& item = manifest_.items[*index];
    lock::Fd opened;
    if (!item.path.empty()) {
      CACHECTL_ASSIGN(const int parent, cursor.at(parent_of(item.path)));
      const std::string name(name_of(item.path));
      // By a descriptor: there is no fchmodat that does not follow links.
      opened = lock::Fd(open_name(parent, name.c_str(), O_RDONLY | O_DIRECTORY));
      if (!opened.valid()) return fail(open_directory_error(cursor.name(item.path), errno));
    }
    const int directory = item.path.empty() ? to_.top : opened.get();
    const auto times = times_of(item);
    if (lock::retry([&] { return ::fchmod(directory, item.mode); }) != 0) {
      return fail(system_error("chmod " + cursor.name(item.path)));
    }
    if (lock::retry([&] { return ::futimens(directory, times.data()); }) != 0) {
      return fail(system_error("set the time of " + cursor.name(item.path)));
    }
  }
  return {};
}

}  // namespace cachectl::tree
