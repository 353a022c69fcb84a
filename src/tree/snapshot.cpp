#include "src/tree/snapshot.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include "src/tree/lines.hpp"

// The lines of a snapshot (see lines.hpp for what is around them):
//
//   100644  1234  5678901  1700000000.123456789  1700000000.223456789  bin/tool
//   |       |     |        |                     ctime                 path
//   |       |     inode    mtime
//   |       size
//   type and mode, as stat(2) gives them

namespace cachectl::tree {

namespace {

constexpr std::string_view kSnapshotKind = "cachectl-snapshot";

}  // namespace

Stamp stamp_of(std::string path, const struct stat& status) {
  // The size of a directory is an affair of the file system.
  const bool directory = S_ISDIR(status.st_mode);
  return {std::move(path),
          status.st_mode,
          directory ? 0 : static_cast<std::uint64_t>(status.st_size),
          status.st_ino,
          FileTime::of(status.st_mtim),
          FileTime::of(status.st_ctim)};
}

void wait_for_next_tick(const Snapshot& snapshot) {
  FileTime newest;
  for (const auto& stamp : snapshot.stamps) newest = std::max(newest, stamp.changed);
  // Not for ever: the clock may have been set back, or be another machine's.
  for (int patience = 0; patience < 50; ++patience) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (FileTime::of(now) > newest) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string encode(const Snapshot& snapshot) {
  std::uint64_t bytes = 0;
  for (const auto& stamp : snapshot.stamps) bytes += stamp.size;
  LineWriter writer(kSnapshotKind, snapshot.stamps.size(), bytes);
  for (const auto& stamp : snapshot.stamps) {
    writer.octal(stamp.mode, 6)
        .number(stamp.size)
        .number(stamp.inode)
        .time(stamp.modified)
        .time(stamp.changed)
        .path(stamp.path)
        .end_line();
  }
  return std::move(writer).finish();
}

Result<Snapshot> decode_snapshot(std::string_view text, std::string_view what) {
  CACHECTL_ASSIGN(auto reader, LineReader::open(text, kSnapshotKind, what));
  Snapshot snapshot;
  snapshot.stamps.reserve(std::min(reader.items(), text.size() / 16));
  std::uint64_t bytes = 0;
  bool sorted = true;
  while (reader.next_line()) {
    Stamp stamp;
    stamp.mode = static_cast<mode_t>(reader.number(8));
    stamp.size = reader.number();
    stamp.inode = reader.number();
    stamp.modified = reader.time();
    stamp.changed = reader.time();
    stamp.path = reader.path();
    if (!reader.line_done()) break;
    bytes += stamp.size;
    const auto& stamps = snapshot.stamps;
    sorted = sorted && (stamps.empty() || path_less(stamps.back().path, stamp.path));
    snapshot.stamps.push_back(std::move(stamp));
  }
  if (!reader.good() || reader.more_fields() || !sorted ||
      snapshot.stamps.size() != reader.items() || bytes != reader.bytes()) {
    return fail(Errc::corrupt, std::string(what) + ": is damaged");
  }
  return snapshot;
}

}  // namespace cachectl::tree
