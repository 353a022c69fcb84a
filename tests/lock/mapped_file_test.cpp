#include "lock/mapped_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>

#include "tests/support/forked.hpp"
#include "tests/support/temp_directory.hpp"

namespace cachectl::test {

using lock::MappedFile;

namespace {

constexpr std::size_t kBytes = 2 * 4096;

std::unique_ptr<MappedFile> map_all(const lock::Directory& directory, MappedFile::Access access) {
  const auto file = MappedFile::open(directory, "numbers", access);
  return file.valid() ? MappedFile::map(file.get(), access, 0, kBytes) : nullptr;
}

}  // namespace

TEST_CASE("mapped file: what processes add to it is added up, and is in the file") {
  const TempDirectory root;
  const auto directory = *lock::Directory::open(root.path());
  write_file(root.file("numbers"), std::string(kBytes, '\0'));
  const auto mapped = map_all(directory, MappedFile::Access::add);
  REQUIRE(mapped);
  const auto add = [&] {
    Forked child([&](const Link&) {
      const auto theirs = map_all(directory, MappedFile::Access::add);
      if (!theirs) return 1;
      for (int each = 0; each < 1000; ++each) theirs->word(600).fetch_add(1);
      return 0;
    });
    return child.wait();
  };
  CHECK(add() == 0);
  CHECK(add() == 0);
  CHECK(mapped->word(600).load() == 2000);
  const auto page = MappedFile::open(directory, "numbers", MappedFile::Access::look);
  const auto second = MappedFile::map(page.get(), MappedFile::Access::look, 4096, 4096);
  REQUIRE(second);
  CHECK(second->word(600 - 512).load() == 2000);
}

TEST_CASE("mapped file: one that was cut short is told, and kills nobody") {
  const TempDirectory root;
  const auto directory = *lock::Directory::open(root.path());
  write_file(root.file("numbers"), std::string(kBytes, 'x'));
  const auto mapped = map_all(directory, MappedFile::Access::add);
  REQUIRE(mapped);
  CHECK(mapped->is_current(directory, "numbers"));
  std::filesystem::resize_file(root.file("numbers"), 4096);
  CHECK_FALSE(mapped->is_current(directory, "numbers"));
  CHECK_FALSE(mapped->is_tripped());
  // Not added to: the thread sanitizer holds a lock of its own meanwhile, and its mmap wants that.
  CHECK(mapped->word(600).load() == 0);
  CHECK(mapped->is_tripped());
}

TEST_CASE("mapped file: another one under the name is told") {
  const TempDirectory root;
  const auto directory = *lock::Directory::open(root.path());
  for (const auto* name : {"numbers", "other"}) {
    write_file(root.file(name), std::string(kBytes, '\0'));
  }
  const auto mapped = map_all(directory, MappedFile::Access::look);
  REQUIRE(mapped);
  std::filesystem::rename(root.file("other"), root.file("numbers"));
  CHECK_FALSE(mapped->is_current(directory, "numbers"));
  std::filesystem::remove(root.file("numbers"));
  CHECK_FALSE(mapped->is_current(directory, "numbers"));
}

TEST_CASE("mapped file: links are not followed, and only files are mapped") {
  const TempDirectory root;
  const auto directory = *lock::Directory::open(root.path());
  write_file(root.file("elsewhere"), std::string(kBytes, '\0'));
  std::filesystem::create_symlink("elsewhere", root.file("numbers"));
  CHECK_FALSE(MappedFile::open(directory, "numbers", MappedFile::Access::add).valid());
  CHECK(errno == ELOOP);
  REQUIRE(::mkfifo(root.file("fifo").c_str(), 0600) == 0);
  const auto fifo = MappedFile::open(directory, "fifo", MappedFile::Access::add);
  REQUIRE(fifo.valid());
  CHECK(MappedFile::map(fifo.get(), MappedFile::Access::add, 0, kBytes) == nullptr);
  CHECK(errno == ENODEV);
}

}  // namespace cachectl::test
