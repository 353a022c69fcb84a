#include "lock/fd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "lock/retry.hpp"

namespace cachectl::lock {

void Fd::reset() {
  // Not retried on EINTR: Linux has released the descriptor even then, and a
  // second close could hit a descriptor that another thread has just opened.
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

namespace {

template <typename Write>
Result<void> write_with(Bytes data, std::string_view what, Write write) {
  while (!data.empty()) {
    const ssize_t written = write(data);
    if (written < 0) {
      if (errno == EINTR) continue;
      return fail(system_error("write " + std::string(what)));
    }
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

template <typename Read>
Result<std::size_t> read_with(std::span<std::byte> buffer, std::string_view what, Read read) {
  std::size_t total = 0;
  while (total < buffer.size()) {
    const ssize_t got = read(buffer.subspan(total), total);
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail(system_error("read " + std::string(what)));
    }
    if (got == 0) break;
    total += static_cast<std::size_t>(got);
  }
  return total;
}

}  // namespace

Result<void> write_all(int descriptor, Bytes data, std::string_view what) {
  return write_with(data, what,
                    [=](Bytes rest) { return ::write(descriptor, rest.data(), rest.size()); });
}

Result<void> write_all_at(int descriptor, Bytes data, std::uint64_t offset, std::string_view what) {
  return write_with(data, what, [=](Bytes rest) {
    const auto done = static_cast<std::uint64_t>(rest.data() - data.data());
    return ::pwrite(descriptor, rest.data(), rest.size(), static_cast<off_t>(offset + done));
  });
}

Result<std::size_t> read_full(int descriptor, std::span<std::byte> buffer, std::string_view what) {
  return read_with(buffer, what, [=](std::span<std::byte> rest, std::size_t) {
    return ::read(descriptor, rest.data(), rest.size());
  });
}

Result<std::size_t> read_full_at(int descriptor, std::span<std::byte> buffer, std::uint64_t offset,
                                 std::string_view what) {
  return read_with(buffer, what, [=](std::span<std::byte> rest, std::size_t done) {
    return ::pread(descriptor, rest.data(), rest.size(), static_cast<off_t>(offset + done));
  });
}

Result<std::size_t> read_some(int descriptor, std::span<std::byte> buffer, std::string_view what) {
  while (true) {
    const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return fail(system_error("read " + std::string(what)));
  }
}

Result<struct stat> status_of(int descriptor, std::string_view what) {
  struct stat status {};
  if (retry([&] { return ::fstat(descriptor, &status); }) == 0) return status;
  return fail(system_error("stat " + std::string(what)));
}

void start_writing_back(int descriptor, std::uint64_t offset, std::uint64_t size) {
  ::sync_file_range(descriptor, static_cast<off64_t>(offset), static_cast<off64_t>(size),
                    SYNC_FILE_RANGE_WRITE);
}

Result<void> sync(int descriptor, std::string_view what) {
  if (::fsync(descriptor) != 0) {
    // EINTR means that nothing was decided yet; every other error is final.
    if (errno == EINTR) return sync(descriptor, what);
    return fail(system_error("fsync " + std::string(what)));
  }
  return {};
}

}  // namespace cachectl::lock
