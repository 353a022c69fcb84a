// bench_redis SOCKET BATCHES: how long a record of 1 KiB takes that is fetched from a Redis server
// in batches of 100 on one connection, all in all, in microseconds. For comparison with
// redis-benchmark -P 100.
#include <unistd.h>

#include "scripts/bench.d/measure.hpp"
#include "src/remote/tier.hpp"
#include "src/store/entry.hpp"
#include "src/store/record_writer.hpp"

namespace {

constexpr std::size_t kBatch = 100;
constexpr std::size_t kSize = 1024;

template <typename T>
T must(cachectl::Result<T> result) {
  if (!result) bench::give_up(result.error().describe());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

void check(const std::vector<cachectl::Result<bool>>& results) {
  for (const auto& result : results) {
    if (!must(result)) bench::give_up("a record is not there");
  }
}

/// Published from files that have no name any more when this returns.
std::vector<cachectl::Key> publish(cachectl::remote::Tier& tier, const cachectl::store::Root& root,
                                   const cachectl::Clock& clock) {
  std::vector<cachectl::Key> keys;
  const std::vector<std::byte> value(kSize, std::byte{'x'});
  for (std::size_t i = 0; i < kBatch; ++i) {
    keys.push_back(must(cachectl::Key::from("bench " + std::to_string(i))));
    auto writer = must(cachectl::store::RecordWriter::create(root, keys.back()));
    must(writer.append_output(value));
    const cachectl::lock::Fd file(::dup(writer.descriptor()));
    cachectl::store::RecordHeader header;
    header.created = clock.now();
    header.generation = 1;
    must(writer.publish(header, cachectl::store::Place::entry, cachectl::lock::Durability::none));
    std::vector<std::byte> head(4096);
    head.resize(must(cachectl::lock::read_full_at(file.get(), head, 0, "the record")));
    must(tier.publish(keys.back(), must(cachectl::store::decode_header(head)), file.get()));
  }
  return keys;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) bench::give_up("usage: bench_redis SOCKET BATCHES");
  const int batches = std::stoi(argv[2]);
  const auto root = must(
      cachectl::store::Root::open_or_create("bench-redis", cachectl::store::Sharing::owner_only));
  const cachectl::SystemClock clock;
  cachectl::remote::Options options;
  options.server = must(cachectl::remote::parse_url(std::string("unix:") + argv[1]));
  const auto tier = must(cachectl::remote::Tier::open(options, root.directory(), 0600, clock, {}));
  const auto keys = publish(*tier, root, clock);

  std::size_t bytes = 0;
  const auto take = [&](std::size_t, cachectl::lock::Bytes part) {
    bytes += part.size();
    return cachectl::Result<void>();
  };
  const auto start = bench::Clock::now();
  for (int batch = 0; batch < batches; ++batch) check(tier->fetch_many(keys, take));
  const auto took = bench::microseconds_since(start);
  if (bytes < kSize * kBatch * static_cast<std::size_t>(batches)) bench::give_up("too few bytes");
  std::printf("a_wall=%.4f\n", took / batches / kBatch);
}
