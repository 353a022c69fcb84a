// Doctor: whether a directory, its file system and its clock are fit for a cache, and what
// is wrong in one that is there.
//
// It tries what the cache relies on (locks that exclude, atomic rename, fsync) on scratch
// files below ROOT/tmp, which it removes; a killed one leaves what gc removes. Nothing else
// is changed: where there is no cache it makes none, and looks at the directory in which
// one would be made. Works beside all that use the cache.
//
// Thread rules: it forks to try the locks, so it is for programs that have one thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "src/clock.hpp"
#include "src/store/root.hpp"

namespace cachectl::doctor {

enum class Level {
  ok,
  warning,  ///< it works, and there is something to know
  failure,  ///< it does not work, or not as promised
};
[[nodiscard]] std::string_view name_of(Level level);

struct Finding {
  std::string check;  ///< what was looked at: "file system"
  Level level = Level::ok;
  std::string what;    ///< what was found; not escaped
  std::string advice;  ///< what to do; empty: nothing
};

/// Findings in the order in which they were made.
class Report {
 public:
  void ok(std::string_view check, std::string what);
  void warning(std::string_view check, std::string what, std::string advice);
  void failure(std::string_view check, std::string what, std::string advice);
  void failure(std::string_view check, const Error& why);

  [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }
  [[nodiscard]] bool is_fit() const;

 private:
  std::vector<Finding> findings_;
};

struct Patient {
  std::string root;  ///< absolute
  store::Sharing sharing = store::Sharing::owner_only;
  const Clock* clock = nullptr;  ///< not null
  std::uint64_t records = 1000;  ///< so many are read, and their checksums compared
  std::chrono::nanoseconds patience = std::chrono::seconds(5);  ///< for reading them
};

/// All checks but those of the configuration, which is the caller's.
void examine(const Patient& patient, Report& report);

}  // namespace cachectl::doctor
