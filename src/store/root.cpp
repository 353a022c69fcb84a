#include "src/store/root.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

#include "lock/retry.hpp"

namespace cachectl::store {

namespace {

using lock::Directory;

/// Set while a root is made, as lock/directory.cpp does for those below it.
constexpr mode_t kUnsettled = S_ISVTX;

constexpr std::string_view kFormat = "cachectl 1\n";
constexpr std::string_view kTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This directory is a cache made by cachectl.\n"
    "# Its content can be made again; backups may skip it. See bford.info/cachedir\n";

Result<void> check_safe(const Directory& directory, const struct stat& status, Sharing sharing) {
  const auto refuse = [&](const std::string& why, const std::string& advice) {
    return fail(Errc::refused, directory.path() + ": " + why + "; refused", advice);
  };
  if (sharing == Sharing::owner_only && status.st_uid != ::geteuid()) {
    return refuse("belongs to uid " + std::to_string(status.st_uid) + ", not to you (uid " +
                      std::to_string(::geteuid()) + ")",
                  "use a root of your own, or configure it as shared");
  }
  if ((status.st_mode & S_IWOTH) != 0) {
    return refuse("everybody may write to it", "chmod o-w " + directory.path());
  }
  if (sharing == Sharing::owner_only && (status.st_mode & S_IWGRP) != 0) {
    return refuse("its group may write to it",
                  "chmod g-w " + directory.path() + ", or configure it as shared");
  }
  return {};
}

Result<void> check_safe(const Directory& directory, Sharing sharing) {
  CACHECTL_ASSIGN(const struct stat status,
                  lock::status_of(directory.descriptor(), directory.path()));
  return check_safe(directory, status, sharing);
}

/// Whether all names in it are names that a root under construction has.
Result<bool> looks_unfinished(const Directory& directory) {
  constexpr std::array<std::string_view, 7> kOurs{".",          "..",      "CACHEDIR.TAG", "format",
                                                  "cache.lock", "entries", "attempts"};
  CACHECTL_ASSIGN(const Directory copy, directory.open_below("."));
  const int descriptor = ::fcntl(copy.descriptor(), F_DUPFD_CLOEXEC, 0);
  DIR* listing = descriptor < 0 ? nullptr : ::fdopendir(descriptor);
  if (listing == nullptr) {
    auto failure = system_error("list " + directory.path());
    if (descriptor >= 0) ::close(descriptor);
    return fail(std::move(failure));
  }
  bool ours = true;
  while (const dirent* item = ::readdir(listing)) {
    const std::string_view name = item->d_name;
    bool known = name == Root::kStaging;
    for (const auto candidate : kOurs) known = known || name == candidate;
    ours = ours && known;
  }
  ::closedir(listing);
  return ours;
}

enum class Completeness { complete, unfinished };

Result<Completeness> check_format(const Directory& directory) {
  CACHECTL_ASSIGN(auto file, directory.open_if_exists("format", O_RDONLY | O_NONBLOCK));
  if (!file) {
    CACHECTL_ASSIGN(const bool unfinished, looks_unfinished(directory));
    if (unfinished) return Completeness::unfinished;
    // Somebody may have completed it, and made more in it, between the two looks.
    CACHECTL_ASSIGN(file, directory.open_if_exists("format", O_RDONLY | O_NONBLOCK));
  }
  if (!file) {
    return fail(Errc::refused, directory.path() + ": is not a cache and not empty; refused",
                "name an empty or a new directory");
  }
  std::array<char, 64> buffer;
  CACHECTL_ASSIGN(const std::size_t size,
                  lock::read_full(file->get(), std::as_writable_bytes(std::span(buffer)),
                                  directory.path_of("format")));
  const std::string_view text(buffer.data(), size);
  if (text == kFormat) return Completeness::complete;
  return fail(Errc::format,
              directory.path_of("format") + ": says '" + escaped(text.substr(0, text.find('\n'))) +
                  "'; this cachectl knows 'cachectl 1'",
              "use the cachectl that made it, or another root");
}

/// Without slashes and dots at the end, which would lead through a link that it names.
std::string without_tail(std::string path) {
  while (path.size() > 1 && (path.ends_with('/') || path.ends_with("/."))) path.pop_back();
  return path;
}

std::string above(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Makes the names in a directory durable. Not to be allowed to read it is no failure:
/// then others made it, and what is in it.
Result<void> sync_if_readable(const std::string& path) {
  const lock::Fd directory(
      lock::retry([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  return directory.valid() ? lock::sync(directory.get(), path) : Result<void>();
}

/// mkdir, with rights of our own whatever the umask says. The sticky bit stays until the
/// root is complete and durable, see Root::settle.
bool make_directory(const std::string& path, mode_t mark) {
  if (lock::retry([&] { return ::mkdir(path.c_str(), 0700 | mark); }) != 0) return false;
  const lock::Fd made(lock::retry(
      [&] { return ::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
  if (!made.valid()) return false;
  // By this detour, because a directory without rights cannot be opened.
  const auto by_descriptor = "/proc/self/fd/" + std::to_string(made.get());
  struct stat status {};
  return lock::retry([&] { return ::fstat(made.get(), &status); }) == 0 &&
         ((status.st_mode & 0700U) == 0700U || ::chmod(by_descriptor.c_str(), 0700 | mark) == 0);
}

/// mkdir -p, each new directory synced into its parent; all are for the user alone, like
/// ~/.cache.
Result<void> make_directories(const std::string& path) {
  int reason = 0;  // the first one: the rest only follows from it
  std::size_t end = 0;
  while (end != std::string::npos) {
    end = path.find('/', end + 1);
    const bool last = end == std::string::npos;
    const auto prefix = path.substr(0, end);
    if (make_directory(prefix, last ? kUnsettled : 0)) {
      CACHECTL_TRY(sync_if_readable(above(prefix)));
      continue;
    }
    if (errno == EEXIST) continue;
    if (reason == 0) reason = errno;
    if (last) return fail(system_error("make the cache directory " + path, reason));
  }
  return {};
}

Result<void> place_file(const Directory& root, const Directory& staging, const char* name,
                        std::string_view content, mode_t mode) {
  CACHECTL_ASSIGN(auto file, lock::StagedFile::create(staging, mode));
  CACHECTL_TRY(lock::write_all(file.descriptor(), lock::bytes_of(content), file.path()));
  return file.commit(root, name, lock::Durability::full);
}

}  // namespace

Root::Root(std::unique_ptr<Directory> directory, Sharing sharing, lock::OuterLocks outer)
    : directory_(std::move(directory)),
      sharing_(sharing),
      locks_(*directory_, kLockFile, file_mode(), std::move(outer)) {}

Result<std::optional<Root>> Root::adopt(Directory directory, Sharing sharing,
                                        lock::OuterLocks outer) {
  CACHECTL_TRY(check_safe(directory, sharing));
  CACHECTL_ASSIGN(const Completeness completeness, check_format(directory));
  if (completeness == Completeness::unfinished) return std::optional<Root>();
  return std::optional(
      Root(std::make_unique<Directory>(std::move(directory)), sharing, std::move(outer)));
}

Result<std::optional<Root>> Root::open(const std::string& path, Sharing sharing,
                                       lock::OuterLocks outer) {
  auto directory = Directory::open(without_tail(path));
  if (directory) return adopt(std::move(*directory), sharing, std::move(outer));
  if (directory.error().system_error == ENOENT) return std::optional<Root>();
  return fail(std::move(directory).error());
}

Result<Root> Root::open_or_create(const std::string& path, Sharing sharing,
                                  lock::OuterLocks outer) {
  CACHECTL_ASSIGN(auto existing, open(path, sharing, outer));
  if (existing) return std::move(*existing);
  const auto name = without_tail(path);
  CACHECTL_TRY(make_directories(name));
  CACHECTL_ASSIGN(Directory directory, Directory::open(name));
  Root root(std::make_unique<Directory>(std::move(directory)), sharing, std::move(outer));
  // mkdir knows nothing of sharing, and somebody may have made an empty directory for us.
  CACHECTL_TRY(root.change_mode(root.directory_mode() | kUnsettled));
  CACHECTL_TRY(check_safe(*root.directory_, sharing));
  CACHECTL_TRY(root.initialize());
  CACHECTL_TRY(root.settle());
  return root;
}

void Root::observe(const telemetry::Observers* observers) {
  observers_ = observers;
  if (observers == nullptr) return;
  for (const auto& each : *observers) each->opened(*directory_, file_mode());
}

void Root::tell_left_caller() const {
  if (observers_ == nullptr) return;
  for (const auto& each : *observers_) each->left_caller();
}

Result<void> Root::change_mode(mode_t mode) const {
  if (lock::retry([&] { return ::fchmod(directory_->descriptor(), mode); }) == 0) return {};
  return fail(system_error("chmod " + path()));
}

Result<void> Root::settle() const {
  CACHECTL_ASSIGN(const struct stat status, lock::status_of(directory_->descriptor(), path()));
  if ((status.st_mode & kUnsettled) == 0) return {};
  CACHECTL_TRY(directory_->sync());
  CACHECTL_TRY(sync_if_readable(above(path())));
  // Another user's, in a shared cache: his to settle.
  auto changed = change_mode(directory_mode());
  return changed || changed.error().system_error == EPERM ? Result<void>() : changed;
}

Result<void> Root::initialize() const {
  for (const char* name : {kEntries, kAttempts}) {
    CACHECTL_TRY(directory_->ensure_below(name, directory_mode(), true));
  }
  CACHECTL_ASSIGN(const Directory staging,
                  directory_->ensure_below(kStaging, directory_mode(), true));
  CACHECTL_TRY(place_file(*directory_, staging, "CACHEDIR.TAG", kTag, file_mode()));
  // Last: who sees it, sees a complete root. Two who make it at once write the same.
  return place_file(*directory_, staging, "format", kFormat, file_mode());
}

Result<Directory> Root::writable(const std::string& name) const {
  const auto slash = name.find('/');
  if (slash != std::string::npos) {
    // It is made in a directory that is settled and found safe, so that its being settled
    // is the proof of both.
    auto existing = directory_->open_below(name);
    if (existing) {
      CACHECTL_ASSIGN(const struct stat status,
                      lock::status_of(existing->descriptor(), existing->path()));
      if ((status.st_mode & kUnsettled) == 0) {
        CACHECTL_TRY(check_safe(*existing, status, sharing_));
        return existing;
      }
    }
  }
  CACHECTL_TRY(settle());
  CACHECTL_ASSIGN(Directory directory,
                  directory_->ensure_below(name.substr(0, slash), directory_mode(), true));
  CACHECTL_TRY(check_safe(directory, sharing_));
  if (slash == std::string::npos) return directory;
  CACHECTL_ASSIGN(Directory below,
                  directory.ensure_below(name.substr(slash + 1), directory_mode(), true));
  CACHECTL_TRY(check_safe(below, sharing_));
  return below;
}

EntryName entry_name(const KeyHash& hash) {
  const auto hex = hash.hex();
  return {std::string(Root::kEntries) + "/" + hex.substr(0, 2), hex.substr(2)};
}

}  // namespace cachectl::store
