// bench_publish DIRECTORY SIZE ROUNDS: a durable Cache::set of SIZE bytes over an existing
// value, in turns with the bare system calls that it cannot do without: write, fsync,
// rename over the old file, fsync of the directory. Prints the medians in microseconds.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "scripts/bench.d/measure.hpp"
#include "src/cache.hpp"

namespace {

using cachectl::Cache;
using cachectl::Key;
using cachectl::lock::Bytes;

void must(bool ok, const char* what) {
  if (!ok) bench::give_up(std::string(what) + " failed");
}

double time_bare(int directory, Bytes value) {
  const auto start = bench::Clock::now();
  const int file = openat(directory, "staging", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  must(file >= 0, "open");
  must(cachectl::lock::write_all(file, value, "staging").has_value(), "write");
  must(fsync(file) == 0, "fsync");
  must(renameat(directory, "staging", directory, "value") == 0, "rename");
  must(fsync(directory) == 0, "fsync of the directory");
  close(file);
  return bench::microseconds_since(start);
}

double time_set(const Cache& cache, const Key& key, Bytes value) {
  const auto start = bench::Clock::now();
  const auto generation = cache.set(key, value, {});
  if (!generation) bench::give_up(generation.error().describe());
  return bench::microseconds_since(start);
}

/// Different in each round, and not compressible.
void refill(std::vector<std::byte>& value, std::mt19937_64& random) {
  for (std::size_t i = 0; i < value.size(); i += 512) value[i] = static_cast<std::byte>(random());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) bench::give_up("usage: bench_publish DIRECTORY SIZE ROUNDS");
  const std::string base = argv[1];
  std::vector<std::byte> value(std::stoul(argv[2]));
  const int rounds = std::stoi(argv[3]);

  mkdir(base.c_str(), 0700);
  const std::string bare = base + "/bare";
  mkdir(bare.c_str(), 0700);
  const int directory = open(bare.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  must(directory >= 0, "open of the directory");

  cachectl::CacheOptions options;
  options.root = base + "/cache";
  const auto cache = Cache::open(std::move(options));
  if (!cache) bench::give_up(cache.error().describe());
  const auto key = Key::from("bench:" + std::to_string(value.size()));

  std::mt19937_64 random(1);
  for (auto& byte : value) byte = static_cast<std::byte>(random());
  std::vector<double> ours;
  std::vector<double> reference;
  for (int round = 0; round <= rounds; ++round) {
    refill(value, random);
    const bool ours_first = round % 2 == 0;
    const double first = ours_first ? time_set(*cache, *key, value) : time_bare(directory, value);
    const double second = ours_first ? time_bare(directory, value) : time_set(*cache, *key, value);
    if (round == 0) continue;  // makes the files that the others replace
    ours.push_back(ours_first ? first : second);
    reference.push_back(ours_first ? second : first);
  }
  std::printf("a_wall=%.0f b_wall=%.0f ratio=%.3f\n", bench::median(ours), bench::median(reference),
              bench::median(ours) / bench::median(reference));
}
