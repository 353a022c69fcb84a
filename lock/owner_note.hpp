// OwnerNote: who holds a lock, since when and why, for the person who waits.
//
// The kernel does not tell the owner of an open-file-description lock, so holders
// leave a line in the lock file itself: a fixed slot of 512 bytes for each range,
// overwritten in place (a file made and removed for each lock would cost a hundred
// times as much). `cat cache.lock` shows them.
//
// A note is a hint, never the truth: it is written after the lock is granted and is
// not wiped when it is released; a free lock with a note is free, a held one without
// is held. Writing it may fail, and nothing depends on that.
//
// Format, one line padded with blanks to 511 bytes and a newline:
//   pid=812 start=48213 ns=4026531836 since=1763737959 id=3fa9… mode=exclusive command=…
// The command comes last, with control bytes replaced, cut to what fits.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lock/file_lock.hpp"
#include "lock/process.hpp"

namespace cachectl::lock {

struct OwnerNote {
  ProcessIdentity process;
  std::chrono::sys_seconds since;
  std::uint64_t id = 0;  ///< which lock; several can fall into one slot
  Mode mode = Mode::exclusive;
  std::string command;

  static constexpr std::size_t kSlotSize = 512;

  [[nodiscard]] std::string encode() const;
  [[nodiscard]] static std::optional<OwnerNote> decode(std::string_view slot);

  /// "pid 812 (apt-cache dumpavail), since 14:12:39 UTC, 12 s ago", or that it is gone.
  [[nodiscard]] std::string describe(std::chrono::sys_seconds now) const;
};

/// Overwrites the slot in the file; failure is of no consequence and not reported.
void leave_note(int descriptor, std::uint64_t slot, const OwnerNote& note);

/// The note in the slot if it is about lock `id`.
[[nodiscard]] std::optional<OwnerNote> read_note(int descriptor, std::uint64_t slot,
                                                 std::uint64_t id);

}  // namespace cachectl::lock
