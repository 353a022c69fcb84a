#include "src/doctor/doctor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "src/doctor/checks.hpp"

namespace cachectl::doctor {

std::string_view name_of(Level level) {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::warning:
      return "warning";
    case Level::failure:
      break;
  }
  return "failure";
}

void Report::ok(std::string_view check, std::string what) {
  findings_.push_back({std::string(check), Level::ok, std::move(what), {}});
}

void Report::warning(std::string_view check, std::string what, std::string advice) {
  findings_.push_back({std::string(check), Level::warning, std::move(what), std::move(advice)});
}

void Report::failure(std::string_view check, std::string what, std::string advice) {
  findings_.push_back({std::string(check), Level::failure, std::move(what), std::move(advice)});
}

void Report::failure(std::string_view check, const Error& why) {
  failure(check, why.message, why.advice);
}

bool Report::is_fit() const {
  return std::none_of(findings_.begin(), findings_.end(),
                      [](const Finding& finding) { return finding.level == Level::failure; });
}

std::string count(std::uint64_t number, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", number, number == 1 ? one : many);
}

namespace {

std::string above(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

/// There is no cache yet: would there be one?
void examine_parent(const Patient& patient, Report& report) {
  auto parent = patient.root;
  auto opened = lock::Directory::open(parent);
  while (!opened && opened.error().system_error == ENOENT && parent != "/") {
    parent = above(parent);
    opened = lock::Directory::open(parent);
    // A link above the root is the user's business.
    if (!opened && opened.error().code == Errc::refused)
      opened = lock::Directory::open(parent + "/.");
  }
  if (!opened) return report.failure("root", opened.error());
  if (parent == patient.root) {
    report.ok("root", parent + " is empty or half made: the first write makes it a cache");
  } else {
    report.ok("root", patient.root + " is not there yet: the first write makes it, in " + parent);
  }
  if (::faccessat(opened->descriptor(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    const auto why = system_error("make a cache in " + parent);
    report.failure("root", why.message, "choose another root: --root, or CACHECTL_ROOT");
  }
  check_above(patient.root, report);
  check_file_system(*opened, report);
  check_space(*opened, report);
  check_clock(patient, report);
}

}  // namespace

void examine(const Patient& patient, Report& report) {
  auto opened = store::Root::open(patient.root, patient.sharing);
  if (!opened) {
    report.failure("root", opened.error());
    // What it lies on may be the reason, and shows without a cache.
    const auto directory = lock::Directory::open(patient.root);
    if (!directory) return;
    check_above(patient.root, report);
    check_file_system(*directory, report);
    return check_space(*directory, report);
  }
  if (!*opened) return examine_parent(patient, report);
  const auto& root = **opened;
  report.ok("root", root.path() + " is a cache of format 1, and nobody's but " +
                        (patient.sharing == store::Sharing::group ? "its group's" : "yours"));
  check_above(patient.root, report);
  check_layout(root, report);
  check_file_system(root.directory(), report);
  check_space(root.directory(), report);
  if (const auto staging = root.directory().find_below(store::Root::kStaging);
      staging && *staging) {
    check_locks(**staging, report);
    check_publishing(**staging, report);
  }
  check_lock_file(root, report);
  check_clock(patient, report);
  check_leases(root, report);
  check_staging(root, report);
  check_replicas(root, report);
  check_records(root, patient, report);
}

}  // namespace cachectl::doctor
