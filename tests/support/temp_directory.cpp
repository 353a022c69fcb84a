#include "tests/support/temp_directory.hpp"

#include <stdlib.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace cachectl::test {

namespace fs = std::filesystem;

TempDirectory::TempDirectory() {
  path_ = (fs::temp_directory_path() / "cachectl-test-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
}

TempDirectory::~TempDirectory() {
  // A process that goes on behind may write into it once more.
  std::error_code error;
  for (int attempt = 0; attempt < 100; ++attempt) {
    fs::remove_all(path_, error);
    if (!error) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

std::string TempDirectory::file(std::string_view name) const {
  return path_ + "/" + std::string(name);
}

lock::Directory TempDirectory::open() const {
  auto directory = lock::Directory::open(path_);
  if (!directory) throw std::runtime_error(directory.error().describe());
  return std::move(*directory);
}

std::size_t TempDirectory::count() const {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
}

std::string content_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file.string());
  // In whole blocks: a byte at a time takes seconds for some MB in a debug build.
  std::string content;
  std::string block(std::size_t{1} << 16U, '\0');
  do {
    stream.read(block.data(), static_cast<std::streamsize>(block.size()));
    content.append(block, 0, static_cast<std::size_t>(stream.gcount()));
  } while (stream);
  return content;
}

void write_file(const fs::path& file, std::string_view content) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  stream.close();
  if (!stream) throw std::runtime_error("cannot write " + file.string());
}

}  // namespace cachectl::test
