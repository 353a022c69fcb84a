#include "cli/lock_rows.hpp"

#include <fmt/format.h>

#include "cli/columns.hpp"

namespace cachectl::cli {

namespace {

/// "key user:123", "the cache".
std::string held_by(const status::Lock& lock) {
  const std::string inner = lock.depth > 0 ? " (inside another lock)" : "";
  switch (lock.kind) {
    case status::Lock::Kind::cache:
      return "the cache" + inner;
    case status::Lock::Kind::turn:
      return "turn (wants the cache)";
    case status::Lock::Kind::key:
      break;
  }
  return (lock.key.empty() ? "a key without a value" : "key " + escaped(lock.key)) + inner;
}

}  // namespace

std::string_view mode_of(lock::Mode mode) {
  return mode == lock::Mode::exclusive ? "exclusive" : "shared";
}

std::string who(const status::Process& process) {
  if (process.pid == 0) return "unknown";
  return fmt::format("{} {}", process.pid, escaped(process.command));
}

std::vector<std::string> lock_rows(const status::Lock& lock, WallTime now, std::size_t width) {
  const auto row = [width](std::string_view what, std::string_view mode, std::string_view since,
                           std::string_view by) {
    return cut(fmt::format("{:<26} {:<9} {:>8}  {}", what, mode, since, by), width);
  };
  const auto since = lock.since ? short_form(now - WallTime(*lock.since)) : std::string("?");
  std::vector<std::string> rows{
      row(cut(held_by(lock), 26), mode_of(lock.mode), since, who(lock.owner))};
  for (const auto& waiter : lock.waiters) rows.push_back(row("", "waits", "", who(waiter)));
  if (lock.waiting > lock.waiters.size()) {
    rows.push_back(
        row("", "waits", "",
            fmt::format("{} processes that are not known", lock.waiting - lock.waiters.size())));
  }
  return rows;
}

}  // namespace cachectl::cli
