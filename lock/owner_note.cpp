#include "lock/owner_note.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>

namespace cachectl::lock {

namespace {

constexpr std::chrono::seconds kLatest{253'402'300'799};  // the end of the year 9999

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& byte : result) {
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) byte = '?';
  }
  return result;
}

/// The value of "name=" in `line`; empty when it is not there.
std::string_view field(std::string_view line, std::string_view name) {
  const auto at = line.find(name);
  if (at == std::string_view::npos) return {};
  const auto rest = line.substr(at + name.size());
  return rest.substr(0, rest.find(' '));
}

template <typename Number>
Number number(std::string_view text, int base = 10) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

}  // namespace

std::string OwnerNote::encode() const {
  auto line =
      fmt::format("pid={} start={} ns={} since={} id={:016x} mode={} command={}", process.pid,
                  process.start_ticks, process.pid_namespace, since.time_since_epoch().count(), id,
                  mode == Mode::exclusive ? "exclusive" : "shared", printable(command));
  line.resize(kSlotSize - 1, ' ');
  line += '\n';
  return line;
}

std::optional<OwnerNote> OwnerNote::decode(std::string_view slot) {
  constexpr std::string_view kCommand = " command=";
  const auto at = slot.find(kCommand);
  if (slot.substr(0, 4) != "pid=" || at == std::string_view::npos) return std::nullopt;
  const auto head = slot.substr(0, at + 1);
  auto command = slot.substr(at + kCommand.size());
  while (!command.empty() && (command.back() == ' ' || command.back() == '\n')) {
    command.remove_suffix(1);
  }
  OwnerNote note;
  note.process.pid = number<pid_t>(field(head, "pid="));
  note.process.start_ticks = number<std::uint64_t>(field(head, "start="));
  note.process.pid_namespace = number<std::uint64_t>(field(head, "ns="));
  const std::chrono::seconds since(number<std::int64_t>(field(head, "since=")));
  // What is no process and no time of this calendar was not written by us.
  if (note.process.pid <= 0 || since < since.zero() || since > kLatest) return std::nullopt;
  note.since = std::chrono::sys_seconds(since);
  note.id = number<std::uint64_t>(field(head, " id="), 16);
  note.mode = field(head, "mode=") == "shared" ? Mode::shared : Mode::exclusive;
  note.command = printable(command);
  return note;
}

std::string OwnerNote::describe(std::chrono::sys_seconds now) const {
  const auto of_day = since.time_since_epoch() % std::chrono::days(1);
  const auto seconds = of_day.count();
  const auto clock =
      fmt::format("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60);
  const auto age = std::max<std::int64_t>(0, (now - since).count());
  switch (liveness(process)) {
    case Liveness::gone:
      return fmt::format(
          "pid {} ({}) since {}; that process is gone; a child of it, or a program that leaves no "
          "note, holds it",
          process.pid, command, clock);
    case Liveness::unknown:
      return fmt::format("pid {} of another PID namespace ({}) since {}, {} s ago", process.pid,
                         command, clock, age);
    case Liveness::alive:
      break;
  }
  return fmt::format("pid {} ({}) since {}, {} s ago", process.pid, command, clock, age);
}

void leave_note(int descriptor, std::uint64_t slot, const OwnerNote& note) {
  const auto line = note.encode();
  const auto offset = static_cast<off_t>(slot * OwnerNote::kSlotSize);
  [[maybe_unused]] const auto written = ::pwrite(descriptor, line.data(), line.size(), offset);
}

std::optional<OwnerNote> read_note(int descriptor, std::uint64_t slot, std::uint64_t id) {
  std::array<char, OwnerNote::kSlotSize> line;
  const auto got = read_full_at(descriptor, std::as_writable_bytes(std::span(line)),
                                slot * OwnerNote::kSlotSize, "lock file");
  if (!got || *got != line.size()) return std::nullopt;
  auto note = OwnerNote::decode({line.data(), line.size()});
  if (note && note->id != id) return std::nullopt;
  return note;
}

}  // namespace cachectl::lock
