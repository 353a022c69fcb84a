#include "src/lease/description.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "lock/number.hpp"
#include "src/key.hpp"

namespace cachectl::lease {

namespace {

using std::chrono::milliseconds;

constexpr std::string_view kFirstLine = "cachectl lease 1\n";
constexpr std::array<std::string_view, 4> kEnds{"no", "owner", "expired", "signal"};

std::string end_field(Ended ended) {
  return fmt::format("ended={:<7}\n", kEnds[static_cast<std::size_t>(ended)]);
}

std::string text_of(WallTime time) {
  if (time == kNever) return "never";
  return std::to_string(std::chrono::floor<milliseconds>(time).time_since_epoch().count());
}

std::string expiry_field(WallTime expires) {
  return fmt::format("expires={:<20}\n", text_of(expires));
}

std::string holder_field(pid_t holder) { return fmt::format("holder={:<10}\n", holder); }

std::optional<WallTime> read_time(std::string_view text) {
  if (text == "never") return kNever;
  std::int64_t count = 0;
  if (!parse_number(text, count) || count < 0) return std::nullopt;
  // What a WallTime cannot say lies further off than anybody waits.
  if (milliseconds(count) > std::chrono::floor<milliseconds>(kNever.time_since_epoch())) {
    return kNever;
  }
  return WallTime(milliseconds(count));
}

std::optional<std::string_view> value_of(std::string_view text, std::string_view name) {
  const auto at = text.find("\n" + std::string(name) + "=");
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + 1 + name.size() + 1);
  text = text.substr(0, text.find('\n'));
  return text;
}

std::string_view trimmed(std::string_view text) {
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

bool read_owner(std::string_view text, lock::ProcessIdentity& owner) {
  const auto first = text.find(' ');
  const auto second = text.find(' ', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return false;
  return parse_number(text.substr(0, first), owner.pid) &&
         parse_number(text.substr(first + 1, second - first - 1), owner.start_ticks) &&
         parse_number(text.substr(second + 1), owner.pid_namespace);
}

void overwrite(int descriptor, std::size_t at, const std::string& field) {
  [[maybe_unused]] const auto written =
      ::pwrite(descriptor, field.data(), field.size(), static_cast<off_t>(at));
}

}  // namespace

std::string Description::holds() const {
  if (!key) return "cache";
  if (replica == 0) return "key " + escaped(*key);
  return fmt::format("replica {} of {}", replica, escaped(*key));
}

std::string Description::encode() const {
  std::string text(kFirstLine);
  text += end_field(ended) + expiry_field(expires) + holder_field(holder);
  text += fmt::format("owner={} {} {}\n", owner.pid, owner.start_ticks, owner.pid_namespace);
  text += fmt::format("since={}\nmode={}\n", text_of(since),
                      mode == lock::Mode::exclusive ? "exclusive" : "shared");
  text += "holds=" + holds() + "\n";
  text += "command=" + escaped(command) + "\n";
  return text;
}

std::optional<Description> Description::decode(std::string_view text) {
  if (!text.starts_with(kFirstLine)) return std::nullopt;
  const auto field = [&](std::string_view name) {
    return trimmed(value_of(text, name).value_or(std::string_view()));
  };
  Description found;
  for (std::size_t index = 0; index < kEnds.size(); ++index) {
    if (field("ended") == kEnds[index]) found.ended = static_cast<Ended>(index);
  }
  const auto expires = read_time(field("expires"));
  const auto since = read_time(field("since"));
  if (!expires || !since || !parse_number(field("holder"), found.holder) ||
      !read_owner(field("owner"), found.owner)) {
    return std::nullopt;
  }
  found.expires = *expires;
  found.since = *since;
  found.mode = field("mode") == "shared" ? lock::Mode::shared : lock::Mode::exclusive;
  const auto holds = value_of(text, "holds").value_or(std::string_view());
  constexpr std::string_view kKey = "key ";
  constexpr std::string_view kReplica = "replica ";
  constexpr std::string_view kOf = " of ";
  std::optional<std::string_view> key;
  if (holds.starts_with(kKey)) key = holds.substr(kKey.size());
  if (const auto of = holds.find(kOf);
      holds.starts_with(kReplica) && of != std::string_view::npos) {
    if (!parse_number(holds.substr(kReplica.size(), of - kReplica.size()), found.replica)) {
      return std::nullopt;
    }
    key = holds.substr(of + kOf.size());
  }
  auto command = unescaped(value_of(text, "command").value_or(std::string_view()));
  if (key) found.key = unescaped(*key);
  if (!command || (key && !found.key)) return std::nullopt;
  found.command = std::move(*command);
  return found;
}

void note_end(int descriptor, Ended ended) {
  overwrite(descriptor, kFirstLine.size(), end_field(ended));
}

void note_expiry(int descriptor, WallTime expires) {
  overwrite(descriptor, kFirstLine.size() + end_field(Ended::no).size(), expiry_field(expires));
}

void note_holder(int descriptor, pid_t holder) {
  overwrite(descriptor,
            kFirstLine.size() + end_field(Ended::no).size() + expiry_field(kNever).size(),
            holder_field(holder));
}

}  // namespace cachectl::lease
