#include "tests/tree/random_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "lock/fd.hpp"
#include "tests/support/temp_directory.hpp"
#include "tests/tree/fixture.hpp"

namespace cachectl::test {

namespace fs = std::filesystem;

std::string RandomTree::any(bool directory) {
  std::vector<std::string> all;
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(path_, fs::directory_options::skip_permission_denied,
                                           ignored);
       it != fs::recursive_directory_iterator(); it.increment(ignored)) {
    if (!directory || it->symlink_status(ignored).type() == fs::file_type::directory) {
      all.push_back(it->path());
    }
  }
  // Not in the order of the directory, which differs from run to run.
  std::sort(all.begin(), all.end());
  if (all.empty() || below(20) == 0) return path_;
  return all[below(static_cast<unsigned>(all.size()))];
}

std::string RandomTree::fresh() {
  // Few names, so that they meet again as another type.
  static const std::vector<std::string> kNames = {"a", "b", "c", "a-", "a.b", "\xff", "n\nl", "-x"};
  return any(true) + "/" + kNames[below(static_cast<unsigned>(kNames.size()))];
}

void RandomTree::write(const std::string& path) {
  const lock::Fd file(::open(
      path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644));
  const std::string content(below(50), static_cast<char>('a' + below(3)));
  (void)lock::write_all(file.get(), lock::bytes_of(content), path);
}

void RandomTree::change_content_secretly(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
    return;
  const lock::Fd file(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  (void)lock::write_all_at(
      file.get(), lock::bytes_of(std::string(1, static_cast<char>('A' + below(26)))), 0, path);
  const timespec times[2] = {status.st_atim, status.st_mtim};
  ::futimens(file.get(), times);
}

void RandomTree::change_once() {
  std::error_code ignored;
  const auto path = any();
  switch (below(16)) {
    case 0:
    case 1:
    case 2:
      return write(fresh());
    case 3:
    case 4:
      fs::create_directory(fresh(), ignored);
      return;
    case 5:
      fs::create_symlink(below(2) == 0 ? "a" : "/etc", fresh(), ignored);
      return;
    case 6:
      fs::create_hard_link(path, fresh(), ignored);
      return;
    case 7:
      if (path != path_) fs::remove_all(path, ignored);
      return;
    case 8: {
      // What is in a sound tree can be read; a user may do as he likes.
      const mode_t needed = kind_ == Kind::any ? 0U : 0500U;
      const mode_t mode = needed | (below(2) == 0 ? 0700U : below(01000));
      if (!fs::is_symlink(path, ignored)) ::chmod(path.c_str(), mode);
      return;
    }
    case 9: {
      const timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(below(1000)), 7}};
      ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
      return;
    }
    case 10:
      if (path != path_) ::rename(path.c_str(), fresh().c_str());
      return;
    case 11:
      if (path != path_)
        ::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, any().c_str(), RENAME_EXCHANGE);
      return;
    case 12: {
      // The same name as another type.
      if (path == path_) return;
      fs::remove_all(path, ignored);
      const auto type = below(3);
      if (type == 0) return write(path);
      if (type == 1) fs::create_directory(path, ignored);
      if (type == 2) fs::create_symlink("elsewhere", path, ignored);
      return;
    }
    case 13:
      if (kind_ == Kind::any) ::mkfifo(fresh().c_str(), 0600);
      return;
    default:
      return change_content_secretly(path);
  }
}

void RandomTree::make(unsigned changes) {
  fs::create_directory(path_);
  change(changes);
}

void RandomTree::change(unsigned times) {
  for (unsigned i = 0; i < times; ++i) change_once();
}

}  // namespace cachectl::test
