#include "lock/mapped_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>

#include "lock/retry.hpp"

namespace cachectl::lock {

namespace {

using boost::interprocess::mapped_region;

/// What Boost.Interprocess can map: a descriptor of ours.
class Mappable {
 public:
  explicit Mappable(int descriptor) : descriptor_(descriptor) {}
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return {descriptor_, false};
  }

 private:
  int descriptor_;
};

/// Above the heap, with room for it to grow: most of the tables of pages that an address needs
/// are there already, and a short process is spared to make and to free them.
std::uintptr_t above_heap() {
  constexpr std::uintptr_t kRoom = std::uintptr_t{64} << 20U;
  return (reinterpret_cast<std::uintptr_t>(::sbrk(0)) + kRoom) & ~(kRoom - 1);
}

}  // namespace

MappedFile::MappedFile(const struct stat& status, Region region)
    : status_(status),
      region_(std::move(region)),
      words_(static_cast<std::uint64_t*>(region_->get_address())),
      guard_(words_, region_->get_size()) {}

MappedFile::~MappedFile() = default;

Fd MappedFile::open(const Directory& directory, const char* name, Access access) {
  const int mode = access == Access::add ? O_RDWR : O_RDONLY;
  const auto open = [&](int more) {
    return Fd(::openat(directory.descriptor(), name,
                       mode | more | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC));
  };
  // What is added to is newer than the last access: each mapping would note one in the inode.
  auto file = open(O_NOATIME);
  return file.valid() || errno != EPERM ? std::move(file) : open(0);
}

std::unique_ptr<MappedFile> MappedFile::map(int descriptor, Access access, std::size_t offset,
                                            std::size_t size) {
  struct stat status {};
  if (retry([&] { return ::fstat(descriptor, &status); }) != 0) return nullptr;
  if (!S_ISREG(status.st_mode)) {
    errno = ENODEV;
    return nullptr;
  }
  return map_as(status, descriptor, access, offset, size);
}

std::unique_ptr<MappedFile> MappedFile::map_unseen(int descriptor, Access access,
                                                   std::size_t size) {
  return map_as({}, descriptor, access, 0, size);
}

std::unique_ptr<MappedFile> MappedFile::map_as(const struct stat& status, int descriptor,
                                               Access access, std::size_t offset,
                                               std::size_t size) {
  namespace ipc = boost::interprocess;
  const auto mode = access == Access::add ? ipc::read_write : ipc::read_only;
  // The first of a process only, which is that of the counters: the place is taken then, and in a
  // static program the first exception takes three milliseconds, more than a get from a server.
  static std::atomic_flag is_taken;
  for (const auto near : {above_heap(), std::uintptr_t{0}}) {
    if (near != 0 && is_taken.test_and_set()) continue;
    try {
      auto region = std::make_unique<mapped_region>(Mappable(descriptor), mode,
                                                    static_cast<ipc::offset_t>(offset), size,
                                                    reinterpret_cast<const void*>(near));
      std::unique_ptr<MappedFile> mapped(new MappedFile(status, std::move(region)));
      if (mapped->guard_.is_set()) return mapped;
      errno = EMFILE;
      return nullptr;
    } catch (const ipc::interprocess_exception& error) {
      errno = error.get_native_error();  // taken, or it cannot be mapped anywhere
    }
  }
  return nullptr;
}

bool MappedFile::is_current(const Directory& directory, const char* name) const {
  struct stat named {};
  return ::fstatat(directory.descriptor(), name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         same_file(named, status_) && named.st_size == status_.st_size;
}

}  // namespace cachectl::lock
