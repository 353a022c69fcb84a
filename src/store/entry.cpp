#include "src/store/entry.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

#include "lock/retry.hpp"
#include "src/checksum.hpp"
#include "src/store/copy.hpp"

namespace cachectl::store {

namespace {

/// One read gets all of a small value.
constexpr std::size_t kFirstRead = 64 * 1024;
constexpr std::size_t kReadBlock = 256 * 1024;

/// Enough to tell a record of a later version from a damaged one.
constexpr std::size_t kLongestHead = RecordHeader::kLongest + Key::kLongest;

/// Opens a record. The kernel is not to note the access: one that is only looked at is not used,
/// or a listing would make all entries equally recent; and with each use it would change the
/// inode, which costs a fifth of a hit, and a write to the disk. Only the owner may ask for that;
/// in a shared cache a look at what another made counts as use.
Result<std::optional<lock::Fd>> open_to_read(const lock::Directory& root, const std::string& path,
                                             Want want) {
  // O_NONBLOCK: a planted FIFO must not stop us.
  constexpr int kFlags = O_RDONLY | O_NONBLOCK;
  static std::atomic<bool> others = false;
  if (want != Want::value || !others.load(std::memory_order_relaxed)) {
    auto opened = root.open_if_exists(path, kFlags | O_NOATIME);
    if (opened || opened.error().system_error != EPERM) return opened;
    others = true;
  }
  return root.open_if_exists(path, kFlags);
}

/// Why a name that could not be opened is no record; null: it may well be one.
const char* foreign(const Error& error) {
  if (error.code == Errc::refused) return "a symbolic link, not a record";
  if (error.system_error == ENXIO) return "a socket, not a record";
  if (error.system_error == ENOTDIR) return "passes through a file that is no directory";
  return nullptr;
}

/// Eviction goes by the access time, which is that of its making at first (record_writer.cpp). A
/// use is noted then, and later at most once a second.
void note_use(int descriptor, const struct stat& status, WallTime created) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  const auto noted = wall_time(status.st_atim);
  if (noted != created && wall_time(now) - noted < std::chrono::seconds(1)) return;
  const timespec times[2] = {now, {0, UTIME_OMIT}};
  ::futimens(descriptor, times);  // refused on a read-only cache: no matter
}

}  // namespace

Entry::Entry(lock::Fd file, std::string path, std::vector<std::byte> head, RecordHeader header,
             WallTime last_used)
    : file_(std::move(file)),
      path_(std::move(path)),
      head_(std::move(head)),
      header_(header),
      last_used_(last_used) {}

void Entry::touch(WallTime now) const {
  const std::array<timespec, 2> times{file_time(now), timespec{0, UTIME_OMIT}};
  ::futimens(file_.get(), times.data());
}

Result<std::uint64_t> Entry::payload_sum() const {
  // The state of a running checksum costs more than the checksum of a small value.
  if (all_in_head()) return checksum_of(lock::Bytes(head_).subspan(header_.payload_offset()));
  Checksum sum;
  const auto add = [&](lock::Bytes block) {
    sum.add(block);
    return Result<void>();
  };
  CACHECTL_TRY(each_block(Stream::output, add));
  CACHECTL_TRY(each_block(Stream::errors, add));
  return sum.value();
}

Result<void> Entry::verify() {
  if (verified_) return {};
  CACHECTL_ASSIGN(const auto sum, payload_sum());
  if (sum != header_.payload_checksum) {
    return fail(Errc::corrupt, path_ + ": checksum of the value does not match");
  }
  verified_ = true;
  return {};
}

Result<void> Entry::each_block(Stream stream, const Take& take) const {
  const bool output = stream == Stream::output;
  auto at = header_.payload_offset() + (output ? 0 : header_.output_size);
  const auto end = at + (output ? header_.output_size : header_.error_size);
  if (at < head_.size()) {
    const auto known = std::min<std::uint64_t>(end, head_.size());
    CACHECTL_TRY(take(lock::Bytes(head_).subspan(at, known - at)));
    at = known;
  }
  std::vector<std::byte> block(at < end ? kReadBlock : 0);
  while (at < end) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(block.size(), end - at));
    CACHECTL_ASSIGN(const std::size_t got, lock::read_full_at(file_.get(), part, at, path_));
    if (got < part.size()) return fail(Errc::corrupt, path_ + ": cut off while it was read");
    CACHECTL_TRY(take(part));
    at += got;
  }
  return {};
}

Result<void> Entry::write_to(int descriptor, Stream stream, std::string_view what) const {
  const bool output = stream == Stream::output;
  const auto begin = header_.payload_offset() + (output ? 0 : header_.output_size);
  const auto size = output ? header_.output_size : header_.error_size;
  if (all_in_head()) {
    return lock::write_all(descriptor, lock::Bytes(head_).subspan(begin, size), what);
  }
  return copy_range(file_.get(), begin, size, descriptor, path_, what);
}

namespace {

/// The end of a regular file that is written there: what we add can be cut off again. -1
/// where it cannot.
off_t revocable_end(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return -1;
  const off_t at = ::lseek(descriptor, 0, SEEK_CUR);
  return at == status.st_size ? at : -1;
}

}  // namespace

Result<void> Entry::write_verified(int descriptor, Stream stream, std::string_view what) {
  const off_t end = all_in_head() || verified_ ? -1 : revocable_end(descriptor);
  std::thread verifier;
  Result<void> verdict;
  try {
    if (end >= 0) verifier = std::thread([&] { verdict = verify(); });
  } catch (const std::system_error&) {
    // No thread is to be had: one after the other.
  }
  if (!verifier.joinable()) CACHECTL_TRY(verify());
  auto written = write_to(descriptor, stream, what);
  if (!verifier.joinable()) return written;
  verifier.join();
  if (verdict) return written;
  if (::ftruncate(descriptor, end) != 0 || ::lseek(descriptor, end, SEEK_SET) < 0) {
    return fail(system_error("take a damaged value back from " + std::string(what)));
  }
  return verdict;
}

Result<std::string> Entry::read(Stream stream) const {
  const bool output = stream == Stream::output;
  const auto begin = header_.payload_offset() + (output ? 0 : header_.output_size);
  std::string text(output ? header_.output_size : header_.error_size, '\0');
  if (all_in_head()) {
    std::memcpy(text.data(), head_.data() + begin, text.size());
    return text;
  }
  CACHECTL_ASSIGN(
      const std::size_t got,
      lock::read_full_at(file_.get(), std::as_writable_bytes(std::span(text)), begin, path_));
  if (got < text.size()) return fail(Errc::corrupt, path_ + ": cut off while it was read");
  return text;
}

Result<Lookup> open_record(const lock::Directory& root, const std::string& path,
                           const Key* expected, Want want) {
  auto where = root.path_of(path);
  const auto defect = [&](Error why) {
    Lookup miss;
    miss.defect = std::move(why).within(where);
    return miss;
  };
  auto opened = open_to_read(root, path, want);
  if (!opened) {
    const char* why = foreign(opened.error());
    if (why != nullptr) return defect({Errc::corrupt, 0, why, {}});
    return fail(std::move(opened).error());
  }
  if (!*opened) return Lookup{};
  lock::Fd file = std::move(**opened);

  CACHECTL_ASSIGN(const struct stat status, lock::status_of(file.get(), where));
  if (!S_ISREG(status.st_mode)) return defect({Errc::corrupt, 0, "not a file", {}});
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::size_t first = want == Want::header ? kLongestHead : kFirstRead;
  std::vector<std::byte> head(std::min<std::uint64_t>(size, first));
  CACHECTL_ASSIGN(const std::size_t got, lock::read_full_at(file.get(), head, 0, where));
  head.resize(got);

  auto header = decode_header(head);
  if (!header && header.error().code == Errc::format) {
    return fail(std::move(header).error().within(where));
  }
  if (!header) return defect(std::move(header).error());
  if (header->file_size() != size) return defect({Errc::corrupt, 0, "cut off or grown", {}});
  if (expected != nullptr && key_in(head, *header) != expected->bytes()) {
    return defect({Errc::corrupt, 0, "holds another key", {}});
  }
  if (want == Want::value) note_use(file.get(), status, header->created);
  Lookup found;
  found.entry =
      Entry(std::move(file), std::move(where), std::move(head), *header, wall_time(status.st_atim));
  return found;
}

}  // namespace cachectl::store
