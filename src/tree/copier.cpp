#include "src/tree/copier.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "lock/retry.hpp"
#include "src/tree/transfer.hpp"
#include "src/tree/workers.hpp"

namespace cachectl::tree {

namespace {

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
  if (item.type == Type::symlink) return make_symlink(thread.to, item);
  CACHECTL_TRY(put_file(thread, item));
  report(0, 1);
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
  CACHECTL_ASSIGN(const auto to, make_file(thread.to, to_path(item)));
  auto copied = content(thread, item, from, to.get(), first_method);
  if (!copied && copied.error().code == Errc::unsupported) {
    return fail(none_works(thread.from.name(item.path)));
  }
  if (!copied) {
    const bool is_full =
        copied.error().system_error == ENOSPC || copied.error().system_error == EDQUOT;
    const auto& end = is_full ? thread.to : thread.from;
    return fail(std::move(copied).error().within(end.name(item.path)));
  }
  return dress(to.get(), item, thread.to.name(item.path));
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

}  // namespace cachectl::tree
