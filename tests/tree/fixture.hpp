// What the tests of trees share: a directory with room for several trees, and short ways
// to make, describe and compare them.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "lock/directory.hpp"
#include "src/tree/manifest.hpp"
#include "src/tree/scan.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

/// The value, or an exception that says why there is none.
template <typename T>
T expect(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().describe());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class TreePlace {
 public:
  TreePlace() : directory_(temp_.open()) {}

  [[nodiscard]] const lock::Directory& directory() const { return directory_; }
  /// Path of a file below.
  [[nodiscard]] std::string file(std::string_view name) const { return temp_.file(name); }

  /// What a scan finds.
  [[nodiscard]] tree::Manifest manifest(const std::string& name) const {
    return expect(tree::scan(directory_, name)).manifest;
  }
  /// "" when both trees are the same, else the first lines of what differs.
  [[nodiscard]] std::string difference(const std::string& one, const std::string& other) const;

 private:
  TempDirectory temp_;
  lock::Directory directory_;
};

/// A tree with one of each: empty and full files and directories, links of both kinds,
/// modes, times, a file with a hole, and names that are not easy.
void make_sample(const std::string& path);

/// What differs between two manifests, one line each.
[[nodiscard]] std::string difference(const tree::Manifest& one, const tree::Manifest& other);

/// Sets the modification time; of a link itself.
void set_time(const std::string& path, std::int64_t whole, std::int64_t rest = 0);

/// Runs `body` in a forked child that is another user than root, and returns what it says.
[[nodiscard]] std::string as_nobody(const std::function<std::string()>& body);

}  // namespace cachectl::test
