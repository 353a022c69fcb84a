#include "src/config/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>

#include "lock/fd.hpp"
#include "lock/retry.hpp"
#include "src/config/paths.hpp"
#include "src/config/quoted.hpp"

namespace cachectl::config {

namespace {

// Far more than any sane file; keeps --config /dev/zero and deep nesting harmless.
constexpr std::size_t largest_file = std::size_t{64} * 1024;

/// -1 with errno set, as open(2), but not interrupted (a named file may be a FIFO).
lock::Fd open_for_reading(const char* path, int flags) {
  int descriptor = -1;
  do {
    descriptor = ::open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
  } while (descriptor < 0 && errno == EINTR);
  return lock::Fd(descriptor);
}

Error unreadable(const std::string& path, int error) {
  Error failure = system_error("configuration file " + printable(path), error);
  failure.code = Errc::config;
  return failure;
}

Result<FileText> read_text(const lock::Fd& file, const std::string& path) {
  FileText result{path, {}};
  std::array<std::byte, 4096> buffer{};
  while (true) {
    const auto count = lock::read_some(file.get(), buffer, path);
    if (!count) return fail(unreadable(path, count.error().system_error));
    if (*count == 0) return result;
    result.text.append(reinterpret_cast<const char*>(buffer.data()), *count);
    if (result.text.size() > largest_file) {
      return fail(Errc::config,
                  printable(path) + ": larger than 64 KiB, so not a configuration file");
    }
  }
}

/// Whether an open that failed means "there is no such file". A directory that may not
/// be searched (sudo -u somebody in /root) hides its files: nobody meant one of them.
bool absent(const char* path, int error) {
  if (error == ENOENT || error == ENOTDIR) return true;
  struct stat status {};
  return error == EACCES && ::lstat(path, &status) != 0;
}

bool is_trusted_owner(uid_t owner) { return owner == 0 || owner == ::geteuid(); }

tl::unexpected<Error> distrust(std::string_view why) {
  return fail(Errc::config, std::string(local_file) + ": not used: " + std::string(why),
              "if you trust it, name it: --config ./cachectl.toml; to do without: "
              "--config /dev/null");
}

/// Judges the opened file, and the link that may have led to it, not the name: the name
/// can be replaced at any time.
Result<void> check_local_file(const lock::Fd& file) {
  struct stat status {};
  struct stat link {};
  if (lock::retry([&] { return ::fstat(file.get(), &status); }) != 0) {
    return fail(unreadable(local_file, errno));
  }
  if (::lstat(local_file, &link) != 0) return fail(unreadable(local_file, errno));
  if (!is_trusted_owner(status.st_uid) || !is_trusted_owner(link.st_uid)) {
    return distrust("it belongs to another user");
  }
  if (!S_ISREG(status.st_mode)) return distrust("it is not a regular file");
  if ((status.st_mode & S_IWOTH) != 0) return distrust("everybody can write it");
  return {};
}

Result<std::optional<FileText>> read_local_file() {
  // O_NONBLOCK: a FIFO of that name must not hang every command.
  const lock::Fd file = open_for_reading(local_file, O_NONBLOCK);
  if (!file.valid()) {
    const int error = errno;
    if (absent(local_file, error)) return std::nullopt;
    return fail(unreadable(local_file, error));
  }
  CACHECTL_TRY(check_local_file(file));
  return read_text(file, local_file);
}

std::optional<std::string> named_file(const std::optional<std::string>& named,
                                      const Environment& environment) {
  if (named) return named;
  const std::string_view name = variable(environment, "CACHECTL_CONFIG");
  return name.empty() ? std::nullopt : std::optional<std::string>(name);
}

}  // namespace

Result<FileText> read_named_file(const std::string& path) {
  const lock::Fd file = open_for_reading(path.c_str(), 0);
  if (!file.valid()) {
    return fail(unreadable(path.empty() ? "''" : path, errno));
  }
  return read_text(file, path);
}

Result<std::optional<FileText>> read_if_exists(const std::string& path) {
  const lock::Fd file = open_for_reading(path.c_str(), 0);
  if (file.valid()) return read_text(file, path);
  const int error = errno;
  if (absent(path.c_str(), error)) return std::nullopt;
  return fail(unreadable(path, error));
}

Result<std::optional<FileText>> read_user_file(const std::optional<std::string>& named,
                                               const Environment& environment) {
  if (const auto path = named_file(named, environment)) return read_named_file(*path);
  CACHECTL_ASSIGN(auto local, read_local_file());
  if (local) return local;
  if (const auto path = home_file(environment)) return read_if_exists(*path);
  return std::nullopt;
}

std::optional<std::string> home_file(const Environment& environment) {
  auto directory = xdg_directory(environment, "XDG_CONFIG_HOME", ".config");
  if (directory) *directory += "/cachectl.toml";
  return directory;
}

std::vector<std::string> search_path(const std::optional<std::string>& named,
                                     const Environment& environment) {
  std::vector<std::string> paths;
  if (auto path = named_file(named, environment)) {
    paths.push_back(*std::move(path));
  } else {
    paths.emplace_back(local_file);
    if (auto home = home_file(environment)) paths.push_back(*std::move(home));
  }
  paths.emplace_back(system_file);
  return paths;
}

}  // namespace cachectl::config
