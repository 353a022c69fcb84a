// TempDirectory: an empty directory that is removed, with all in it, at the end of a test.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "lock/directory.hpp"

namespace cachectl::test {

class TempDirectory {
 public:
  /// Below $TMPDIR, else /tmp. Throws when it cannot be made.
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(std::string_view name) const;
  /// The directory opened; throws when it cannot be.
  [[nodiscard]] lock::Directory open() const;
  /// How many entries it has.
  [[nodiscard]] std::size_t count() const;

 private:
  std::string path_;
};

/// The whole file; throws when it cannot be read.
[[nodiscard]] std::string content_of(const std::filesystem::path& file);
/// Creates or overwrites; throws on failure.
void write_file(const std::filesystem::path& file, std::string_view content);

}  // namespace cachectl::test
