// bench_tree DIRECTORY FILES SIZE [CHANGE]: makes a directory of FILES files of SIZE random
// bytes each, 100 to a directory. With CHANGE, writes that many of them anew instead.
#include <filesystem>
#include <fstream>
#include <random>

#include "scripts/bench.d/measure.hpp"

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) bench::give_up("usage: bench_tree DIRECTORY FILES SIZE [CHANGE]");
  const std::filesystem::path root(argv[1]);
  const int files = std::stoi(argv[2]);
  const int step = argc == 5 ? files / std::stoi(argv[4]) : 1;
  std::string content(std::stoul(argv[3]), '\0');
  std::mt19937_64 random(std::random_device{}());
  for (int i = 0; i < files; i += step) {
    const auto directory = root / std::to_string(i / 100);
    if (i % 100 == 0) std::filesystem::create_directories(directory);
    for (std::size_t at = 0; at + 8 <= content.size(); at += 8) {
      const auto bits = random();
      content.replace(at, 8, reinterpret_cast<const char*>(&bits), 8);
    }
    std::ofstream(directory / std::to_string(i), std::ios::binary) << content;
  }
}
