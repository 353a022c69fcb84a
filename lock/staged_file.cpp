#include "lock/staged_file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

constexpr Range kWholeFile{0, 0};

std::string fresh_name() {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) {
    // O_EXCL decides; the name needs to be rare, not secret.
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    random =
        static_cast<std::uint64_t>(now.tv_nsec) << 20U ^ static_cast<std::uint64_t>(now.tv_sec);
  }
  char name[48];
  std::snprintf(name, sizeof name, "%ld-%016llx", static_cast<long>(::getpid()),
                static_cast<unsigned long long>(random));
  return name;
}

}  // namespace

StagedFile::StagedFile(const Directory& staging, std::string name, FileLock file)
    : staging_(&staging), name_(std::move(name)), file_(std::move(file)) {}

StagedFile::StagedFile(StagedFile&& other) noexcept
    : staging_(other.staging_),
      name_(std::exchange(other.name_, {})),
      file_(std::move(other.file_)) {}

StagedFile::~StagedFile() { roll_back(); }

void StagedFile::roll_back() {
  // A failure leaves the file to the next clean-up.
  if (!name_.empty()) [[maybe_unused]]
    const auto removed = staging_->unlink(std::exchange(name_, {}));
}

Result<StagedFile> StagedFile::create(const Directory& staging, mode_t mode) {
  while (true) {
    auto name = fresh_name();
    auto opened = staging.open_file(name, O_RDWR | O_CREAT | O_EXCL, mode);
    if (!opened && opened.error().system_error == EEXIST) continue;
    if (!opened) return fail(std::move(opened).error());
    StagedFile file(staging, name, FileLock(std::move(*opened), staging.path_of(name)));
    CACHECTL_ASSIGN(const bool locked,
                    file.file_.lock(kWholeFile, Mode::exclusive, Deadline::immediately()));
    CACHECTL_ASSIGN(const struct stat status, status_of(file.descriptor(), file.path()));
    // Between creation and lock a clean-up may have taken it for abandoned.
    if (!locked || status.st_nlink == 0) continue;
    if ((status.st_mode & 07777U) != mode &&
        retry([&] { return ::fchmod(file.descriptor(), mode); }) != 0) {
      return fail(system_error("chmod " + file.path()));
    }
    return file;
  }
}

Result<void> StagedFile::commit(const Directory& target, const std::string& name,
                                Durability durability) {
  if (durability == Durability::full) {
    if (auto synced = sync(descriptor(), path()); !synced) {
      roll_back();
      return fail(std::move(synced).error().advising("the old value was kept"));
    }
  }
  if (retry([&] {
        return ::renameat(staging_->descriptor(), name_.c_str(), target.descriptor(), name.c_str());
      }) != 0) {
    auto failure = system_error("rename " + path() + " to " + target.path_of(name));
    roll_back();
    return fail(std::move(failure));
  }
  name_.clear();
  if (durability == Durability::full) {
    if (auto synced = target.sync(); !synced) {
      auto failure = std::move(synced).error();
      failure.code = Errc::not_durable;
      failure.advice = target.path_of(name) + " is published, but a power loss may undo that";
      return fail(std::move(failure));
    }
  }
  return {};
}

Result<void> StagedFile::commit_unless_there(const Directory& target, const std::string& name) {
  const bool is_there = retry([&] {
                          return ::linkat(staging_->descriptor(), name_.c_str(),
                                          target.descriptor(), name.c_str(), 0);
                        }) == 0 ||
                        errno == EEXIST;
  if (!is_there) return commit(target, name, Durability::none);
  roll_back();
  return {};
}

Result<void> StagedFile::make_anonymous() {
  CACHECTL_TRY(staging_->unlink(name_));
  name_.clear();
  return {};
}

Result<StagedFate> remove_if_abandoned(const Directory& staging, const std::string& name,
                                       bool dry_run, const std::function<Result<void>()>& before) {
  // To know is enough for a dry run: a shared lock, which a read-only cache grants too.
  auto opened = staging.open_if_exists(name, (dry_run ? O_RDONLY : O_RDWR) | O_NONBLOCK);
  // Another user's, whose umask kept us out: for him to remove.
  if (!opened && opened.error().code == Errc::permission) return StagedFate::alive;
  if (!opened) return fail(std::move(opened).error());
  if (!*opened) return StagedFate::gone;
  FileLock file(std::move(**opened), staging.path_of(name));
  const auto mode = dry_run ? Mode::shared : Mode::exclusive;
  CACHECTL_ASSIGN(const bool abandoned, file.lock(kWholeFile, mode, Deadline::immediately()));
  if (!abandoned) return StagedFate::alive;
  CACHECTL_ASSIGN(const struct stat status, status_of(file.descriptor(), file.path()));
  // Published under another name since we opened it: not ours to touch, nor is there
  // anything under this name any more.
  CACHECTL_ASSIGN(const auto named, staging.status(name));
  if (!named || named->st_ino != status.st_ino) return StagedFate::gone;
  if (!dry_run && before) CACHECTL_TRY(before());
  if (!dry_run) CACHECTL_TRY(staging.unlink(name));
  return StagedFate::removed;
}

}  // namespace cachectl::lock
