#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "lock/held_locks.hpp"
#include "lock/process.hpp"
#include "src/config/duration.hpp"
#include "src/config/size.hpp"
#include "src/doctor/checks.hpp"
#include "src/lease/lease.hpp"
#include "src/pool/pool.hpp"
#include "src/store/scan.hpp"
#include "src/store/trees.hpp"
#include "src/store/verify.hpp"

namespace cachectl::doctor {

namespace {

using lock::Directory;
using store::Root;

constexpr std::string_view kCollect = "cachectl gc removes them";
/// What is larger is looked at, and not read.
constexpr std::uint64_t kLargest = std::uint64_t{256} << 20;

std::string named(pid_t pid) {
  const auto command = lock::command_line_of(pid);
  return fmt::format("pid {}{}", pid, command.empty() ? "" : " (" + escaped(command) + ")");
}

/// Why a directory or file of the cache is in the wrong hands; empty: it is not.
struct Wrong {
  std::string why;
  bool fatal = false;
};

Wrong wrong_rights(const Root& root, const struct stat& status, mode_t wanted) {
  const bool shared = (root.directory_mode() & S_IRWXG) != 0;
  const mode_t mode = status.st_mode & 0777U;
  if (!shared && status.st_uid != ::geteuid()) {
    return {fmt::format("belongs to uid {}", status.st_uid), true};
  }
  if ((mode & S_IWOTH) != 0) return {"everybody may write to it", true};
  if (!shared && (mode & S_IWGRP) != 0) return {"its group may write to it", true};
  if ((mode & wanted & S_IRWXU) != (wanted & S_IRWXU)) return {"its owner may not use it", true};
  if ((mode & 0777U) != (wanted & 0777U)) {
    return {fmt::format("has mode {:04o}, not {:04o}", mode, wanted & 0777U), false};
  }
  return {};
}

void tell(Report& report, std::string_view check, const std::string& path, const Wrong& wrong,
          mode_t wanted) {
  const auto what = path + ": " + wrong.why;
  const auto advice = fmt::format("chmod {:o} {}", wanted, path);
  if (wrong.fatal) return report.failure(check, what, advice);
  report.warning(check, what, advice);
}

/// One directory of the layout; true: it is in order, or not there.
bool check_directory(const Root& root, const std::string& name, Report& report) {
  const auto path = root.directory().path_of(name);
  const auto status = root.directory().status(name);
  if (!status) {
    report.failure("layout", status.error());
    return false;
  }
  if (!*status) return true;
  if (!S_ISDIR((*status)->st_mode)) {
    report.failure("layout", path + ": is no directory", "remove it: rm " + path);
    return false;
  }
  const auto wrong = wrong_rights(root, **status, root.directory_mode());
  if (!wrong.why.empty()) tell(report, "layout", path, wrong, root.directory_mode());
  return wrong.why.empty();
}

template <typename Each>
void each_in(const Root& root, const char* where, std::string_view check, Report& report,
             Each each) {
  const auto directory = root.directory().find_below(where);
  if (!directory) return report.failure(check, directory.error());
  if (!*directory) return;
  const auto walked =
      store::each_name(**directory, [&](const Directory& in, const std::string& name) {
        each(in, name);
        return Result<bool>(true);
      });
  if (!walked) report.failure(check, walked.error());
}

}  // namespace

void check_layout(const Root& root, Report& report) {
  bool right = true;
  for (const char* name : {".", Root::kEntries, Root::kAttempts, Root::kStaging, Root::kLeases,
                           Root::kTrees, Root::kLinks, pool::Pool::kPools}) {
    right = check_directory(root, name, report) && right;
  }
  each_in(root, Root::kEntries, "layout", report, [&](const Directory&, const std::string& name) {
    right = check_directory(root, std::string(Root::kEntries) + "/" + name, report) && right;
  });
  const auto tag = root.directory().status("CACHEDIR.TAG");
  if (tag && !*tag) {
    right = false;
    report.warning("layout", root.directory().path_of("CACHEDIR.TAG") + ": is missing",
                   "backups will take the cache along");
  }
  if (right) report.ok("layout", "owners and modes are as they should be");
}

void check_lock_file(const Root& root, Report& report) {
  const std::string_view check = "lock file";
  const auto path = root.directory().path_of(Root::kLockFile);
  const auto status = root.directory().status(Root::kLockFile);
  if (!status) return report.failure(check, status.error());
  bool right = true;
  for (const pid_t pid : lock::users_of_removed(path)) {
    right = false;
    report.failure(check,
                   fmt::format("{} was removed or replaced while {} has it open: it does not "
                               "exclude those who come now",
                               path, named(pid)),
                   fmt::format("let it end, or end it: kill {}; never remove the file", pid));
  }
  if (*status) {
    if (!S_ISREG((*status)->st_mode)) {
      return report.failure(check, path + ": is no file", "remove it: rm " + path);
    }
    const auto wrong = wrong_rights(root, **status, root.file_mode());
    if (!wrong.why.empty()) {
      right = false;
      tell(report, check, path, wrong, root.file_mode());
    }
    if ((*status)->st_nlink > 1) {
      right = false;
      report.warning(check, path + ": has another name too (a hard link)",
                     "remove that one: a copy of a cache needs a lock file of its own");
    }
  }
  if (right) report.ok(check, *status ? path : path + " is made by the first writer");
}

void check_leases(const Root& root, Report& report) {
  const std::string_view check = "leases";
  std::uint64_t alive = 0;
  std::uint64_t ended = 0;
  bool right = true;
  each_in(root, Root::kLeases, check, report, [&](const Directory& in, const std::string& name) {
    const auto id = lease::Id::parse(name);
    if (!id) return;  // a socket
    const auto found = lease::find(root, *id);
    if (!found) {
      right = false;
      return report.warning(check, found.error().message, std::string(kCollect));
    }
    if (!*found) return;  // released meanwhile
    const auto& lease = **found;
    if (lease.alive) {
      ++alive;
    } else if (lease.description.ended != lease::Ended::no) {
      ++ended;
    } else {
      right = false;
      const auto& owner = lease.description.owner;
      const bool owner_lives = lock::liveness(owner) == lock::Liveness::alive;
      report.warning(
          check,
          fmt::format("{}: its holder was killed, so {} is not held any more{}", in.path_of(name),
                      lease.description.holds(),
                      owner_lives ? fmt::format("; its owner, pid {} ({}), lives and "
                                                "does not know",
                                                owner.pid, escaped(lease.description.command))
                                  : std::string()),
          std::string(kCollect));
    }
  });
  if (!right) return;
  report.ok(check,
            fmt::format("{} held{}", alive,
                        ended > 0 ? fmt::format(", {} ended, which gc removes", ended) : ""));
}

void check_staging(const Root& root, Report& report) {
  const std::string_view check = "staging";
  std::uint64_t dead = 0;
  std::uint64_t bytes = 0;
  std::uint64_t alive = 0;
  each_in(root, Root::kStaging, check, report, [&](const Directory& in, const std::string& name) {
    const auto status = in.status(name);
    if (!status || !*status) return;
    if (S_ISDIR((*status)->st_mode)) {
      const auto lock = store::staged_tree_lock(name);
      const auto locked = lock ? in.status(*lock) : Result<std::optional<struct stat>>(*status);
      if (locked && !*locked) ++dead;
      return;
    }
    if (!S_ISREG((*status)->st_mode)) return;
    const auto fate = lock::remove_if_abandoned(in, name, true);
    if (!fate || *fate == lock::StagedFate::gone) return;
    if (*fate == lock::StagedFate::alive) {
      ++alive;
      return;
    }
    ++dead;
    bytes += static_cast<std::uint64_t>((*status)->st_size);
  });
  if (dead > 0) {
    return report.warning(
        check,
        fmt::format("{} of {} that {} before publishing ({})", count(dead, "file", "files"),
                    dead == 1 ? "a process" : "processes", "died", config::format_size(bytes)),
        std::string(kCollect));
  }
  report.ok(check, alive == 0 ? "nothing was left behind" : fmt::format("{} at work", alive));
}

void check_replicas(const Root& root, Report& report) {
  const std::string_view check = "replicas";
  std::uint64_t all = 0;
  std::uint64_t broken = 0;
  bool read = true;
  each_in(root, pool::Pool::kPools, check, report, [&](const Directory&, const std::string& name) {
    KeyHash hash;
    if (!KeyHash::parse(name, hash)) return;
    const auto pool = pool::Pool::find(root, hash, {});
    const auto slots = pool && *pool ? (*pool)->list() : Result<std::vector<pool::SlotInfo>>();
    if (!pool || !slots) {
      read = false;
      return report.failure(check, !pool ? pool.error() : slots.error());
    }
    for (const auto& slot : *slots) {
      ++all;
      if (slot.condition == pool::Condition::broken) ++broken;
    }
  });
  if (broken > 0) {
    report.warning(check,
                   fmt::format("{} of {}: filling was cut off, or the machine was restarted since",
                               broken, count(all, "replica", "replicas")),
                   "the next checkout fills it anew; cachectl gc removes those above pool.size");
  } else if (read && all > 0) {
    report.ok(check, count(all, "replica", "replicas") + ", none broken");
  }
}

namespace {

/// What is wrong with a record, and with the tree that it names; empty: nothing.
std::string damage(const Root& root, const Directory& in, const std::string& name,
                   store::Entry& entry) {
  const auto path = in.path_of(name);
  KeyHash hash;
  if (!store::hash_of_entry(in, name, hash) || !(KeyHash::of(entry.key()) == hash)) {
    return path + ": lies under the name of another key";
  }
  const auto& header = entry.header();
  if (header.file_size() <= kLargest) {
    if (const auto verified = entry.verify(); !verified) return verified.error().message;
  }
  const auto missing = store::missing_tree(root, in, name, hash, header);
  return missing && *missing ? **missing + ": is missing" : std::string();
}

}  // namespace

void check_records(const Root& root, const Patient& patient, Report& report) {
  const std::string_view check = "records";
  const auto now = patient.clock->now();
  const auto deadline = lock::Deadline::after(patient.patience);
  std::uint64_t seen = 0;
  std::uint64_t future = 0;
  std::uint64_t damaged = 0;
  std::uint64_t unknown = 0;
  std::string first;
  std::string first_unknown;
  // Each time from another directory on, so that in time all are looked at.
  const auto start = static_cast<unsigned>(now.time_since_epoch() / std::chrono::seconds(1));
  const auto walked = store::each_entry(
      root, start, [&](const Directory& in, const std::string& name) -> Result<bool> {
        KeyHash hash;
        if (!store::hash_of_entry(in, name, hash)) return true;
        auto found = store::open_record(in, name, nullptr, store::Want::look);
        ++seen;
        std::string why;
        if (!found && found.error().code == Errc::format) {
          ++unknown;
          if (first_unknown.empty()) first_unknown = found.error().message;
        } else if (!found) {
          why = found.error().message;
        } else if (found->defect) {
          why = found->defect->message;
        } else if (found->entry) {
          if (store::is_from_future(found->entry->header(), now)) ++future;
          why = damage(root, in, name, *found->entry);
        }
        if (!why.empty() && damaged++ == 0) first = why;
        return seen < patient.records && !deadline.passed();
      });
  if (!walked) return report.failure(check, walked.error());
  const auto looked_at = fmt::format("of {} that {} read", count(seen, "record", "records"),
                                     seen == 1 ? "was" : "were");
  if (damaged > 0) {
    report.failure(
        check,
        fmt::format("{} {} {} damaged: {}", damaged, looked_at, damaged == 1 ? "is" : "are", first),
        "cachectl verify --all lists them; who asks for them gets a miss");
  }
  if (unknown > 0) {
    report.warning(check,
                   fmt::format("{} {} of a later version: {}", unknown, looked_at, first_unknown),
                   "use the cachectl that wrote them, or delete them with it");
  }
  if (future > 0) {
    report.warning("clock",
                   fmt::format("{} {}: made in the future, so the clock was set back since; they "
                               "count as expired",
                               future, looked_at),
                   "see that the clock is right: timedatectl");
  }
  if (damaged == 0 && unknown == 0) {
    report.ok(check, seen == 0
                         ? std::string("none are stored")
                         : fmt::format("{} read{}, none damaged", count(seen, "record", "records"),
                                       *walked ? "" : ", a sample"));
  }
}

void check_clock(const Patient& patient, Report& report) {
  // Later than this program was written; a clock before that was never set.
  constexpr WallTime kFirst{std::chrono::sys_days(std::chrono::year(2025) / 1 / 1)};
  const auto now = patient.clock->now();
  if (now < kFirst) {
    report.failure("clock", "it stands before the year 2025: values would expire when it is set",
                   "set it: timedatectl");
  } else {
    report.ok("clock", "set");
  }
  if (pool::boot_id().empty()) {
    report.warning("clock", "/proc does not say which start of the machine this is",
                   "replicas are filled anew each time; mount /proc");
  }
}

}  // namespace cachectl::doctor
