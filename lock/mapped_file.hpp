// MappedFile: numbers of 64 bits in a file that processes share, through mapped memory.
//
//   auto file = MappedFile::open(root, "counters", Access::add);
//   auto mapped = MappedFile::map(file.get(), Access::add, 0, kSize);
//   if (mapped && mapped->word(0).load() == kMagic) mapped->word(5).fetch_add(1);
//
// Nothing here is locked: a process may die at any instruction, so that what is shared must be
// right after each of them. A page that the file system takes away is found out by a
// MappingGuard: what is read there is 0, and what is written is lost.
//
// Boost.Interprocess maps the descriptor; its file_mapping would open the file by its path and
// follow links.
//
// Thread-safe. A child by fork(2) shares the file with its parent.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "lock/directory.hpp"
#include "lock/mapping_guard.hpp"

namespace boost::interprocess {
class mapped_region;
}

namespace cachectl::lock {

class MappedFile {
 public:
  enum class Access { look, add };
  using Word = std::atomic_ref<std::uint64_t>;
  static_assert(Word::is_always_lock_free);

  /// A file by its one name, as safe as Directory::open_file and half the price. Not valid:
  /// errno says why; ELOOP: a symbolic link.
  [[nodiscard]] static Fd open(const Directory& directory, const char* name, Access access);

  /// `size` bytes from `offset`, which is that of a page; the file may be shorter: see status().
  /// Null, and errno says why: it is no plain file (ENODEV), or cannot be mapped.
  [[nodiscard]] static std::unique_ptr<MappedFile> map(int descriptor, Access access,
                                                       std::size_t offset, std::size_t size);

  /// The first `size` bytes of a file that is not looked at, which spares a call: where it ends
  /// shows when it is touched. It has no status, and is never current.
  [[nodiscard]] static std::unique_ptr<MappedFile> map_unseen(int descriptor, Access access,
                                                              std::size_t size);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// By its number, from where the mapping begins. Mapped to look: only to be loaded.
  [[nodiscard]] Word word(std::size_t index) const { return Word(*(words_ + index)); }

  /// Whether a page was missing, ever.
  [[nodiscard]] bool is_tripped() const { return guard_.is_tripped(); }

  /// As it was when it was mapped.
  [[nodiscard]] const struct stat& status() const { return status_; }
  /// Whether the name is that of this file still, and it is as long as it was.
  [[nodiscard]] bool is_current(const Directory& directory, const char* name) const;

 private:
  using Region = std::unique_ptr<boost::interprocess::mapped_region>;
  MappedFile(const struct stat& status, Region region);
  [[nodiscard]] static std::unique_ptr<MappedFile> map_as(const struct stat& status, int descriptor,
                                                          Access access, std::size_t offset,
                                                          std::size_t size);

  struct stat status_;
  Region region_;
  std::uint64_t* words_;
  MappingGuard guard_;
};

}  // namespace cachectl::lock
