#include "src/pool/replica_state.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lock/number.hpp"
#include "lock/retry.hpp"
#include "src/key.hpp"

namespace cachectl::pool {

namespace {

constexpr std::string_view kTitle = "cachectl replica 1\n";
constexpr const char* kFile = "state";
constexpr std::array<std::string_view, 3> kStatuses{"empty", "filling", "ready"};
constexpr std::array<std::string_view, 5> kWays{"overlay", "snapshot", "reflink", "hardlink",
                                                "copy"};

/// One line, and not too long for the file.
std::string line(std::string_view name, std::string_view value, std::size_t longest = 400) {
  auto text = escaped(value);
  if (text.size() > longest) text.resize(longest);
  return std::string(name) + '=' + text + '\n';
}

/// What line() has written, whose end may be a part of an escape.
std::string value_in(std::string_view text) {
  for (std::size_t cut = 0; cut <= std::min<std::size_t>(3, text.size()); ++cut) {
    if (auto bytes = unescaped(text.substr(0, text.size() - cut))) return std::move(*bytes);
  }
  return std::string(text);
}

template <typename Names>
std::optional<std::size_t> position(const Names& names, std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return i;
  }
  return std::nullopt;
}

/// Takes "name=value\n" off the front.
bool take(std::string_view& text, std::string_view name, std::string_view& value) {
  if (!text.starts_with(name) || text.size() <= name.size() || text[name.size()] != '=') {
    return false;
  }
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return false;
  value = text.substr(name.size() + 1, end - name.size() - 1);
  text.remove_prefix(end + 1);
  return true;
}

}  // namespace

std::string_view name_of(Way way) { return kWays.at(static_cast<std::size_t>(way)); }

std::optional<Way> parse_way(std::string_view text) {
  const auto found = position(kWays, text);
  return found ? std::optional(static_cast<Way>(*found)) : std::nullopt;
}

std::string ReplicaState::encode() const {
  const auto milliseconds =
      std::chrono::floor<std::chrono::milliseconds>(since).time_since_epoch().count();
  std::string text(kTitle);
  text += line("status", kStatuses.at(static_cast<std::size_t>(status)));
  text += line("generation", std::to_string(generation));
  text += line("way", name_of(way));
  text += line("leased", leased ? "yes" : "no");
  text += line("boot", boot);
  text += line("since", std::to_string(milliseconds));
  text += line("lease", lease);
  text += line("owner", owner);
  text += line("why", why);
  text.resize(kSize - 1, ' ');
  return text + '\n';
}

std::optional<ReplicaState> ReplicaState::decode(std::string_view text) {
  if (text.size() != kSize || !text.starts_with(kTitle)) return std::nullopt;
  text.remove_prefix(kTitle.size());
  std::string_view status;
  std::string_view generation;
  std::string_view way;
  std::string_view leased;
  std::string_view boot;
  std::string_view since;
  std::string_view lease;
  std::string_view owner;
  std::string_view why;
  if (!take(text, "status", status) || !take(text, "generation", generation) ||
      !take(text, "way", way) || !take(text, "leased", leased) || !take(text, "boot", boot) ||
      !take(text, "since", since) || !take(text, "lease", lease) || !take(text, "owner", owner) ||
      !take(text, "why", why)) {
    return std::nullopt;
  }
  ReplicaState state;
  const auto known_status = position(kStatuses, status);
  const auto known_way = parse_way(way);
  std::int64_t milliseconds = 0;
  if (!known_status || !known_way || !parse_number(generation, state.generation) ||
      !parse_number(since, milliseconds) || (leased != "yes" && leased != "no")) {
    return std::nullopt;
  }
  state.status = static_cast<Status>(*known_status);
  state.way = *known_way;
  state.leased = leased == "yes";
  state.boot = boot;
  state.since = WallTime(std::chrono::milliseconds(milliseconds));
  state.lease = lease;
  state.owner = value_in(owner);
  state.why = value_in(why);
  return state;
}

Result<std::optional<ReplicaState>> read_state(const lock::Directory& directory) {
  CACHECTL_ASSIGN(const auto file, directory.open_if_exists(kFile, O_RDONLY | O_NONBLOCK));
  if (!file) return std::optional<ReplicaState>();
  std::array<char, ReplicaState::kSize> text;
  CACHECTL_ASSIGN(const std::size_t got,
                  lock::read_full_at(file->get(), std::as_writable_bytes(std::span(text)), 0,
                                     directory.path_of(kFile)));
  return ReplicaState::decode({text.data(), got});
}

Result<void> write_state(const lock::Directory& directory, const ReplicaState& state, mode_t mode) {
  CACHECTL_ASSIGN(const auto file, directory.open_file(kFile, O_WRONLY | O_CREAT, mode));
  CACHECTL_ASSIGN(const struct stat status, lock::status_of(file.get(), directory.path_of(kFile)));
  if ((status.st_mode & 07777U) != mode &&
      lock::retry([&] { return ::fchmod(file.get(), mode); }) != 0 && errno != EPERM) {
    return fail(system_error("chmod " + directory.path_of(kFile)));
  }
  return lock::write_all_at(file.get(), lock::bytes_of(state.encode()), 0,
                            directory.path_of(kFile));
}

std::string boot_id() {
  const lock::Fd file(
      lock::retry([&] { return ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC); }));
  std::array<char, 64> text;
  if (!file.valid()) return {};
  const auto got = lock::read_full(file.get(), std::as_writable_bytes(std::span(text)), "boot_id");
  std::string id(text.data(), got.value_or(0));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

}  // namespace cachectl::pool
