// bench_redis SOCKET ROUNDS: how many records of 1 KiB are fetched a second in batches of 100 on
// one connection, and how many are published. Prints both, for comparison with
// redis-benchmark -P 100.
#include <fcntl.h>
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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) bench::give_up("usage: bench_redis SOCKET ROUNDS");
  const int rounds = std::stoi(argv[2]);
  std::string path = "/tmp/bench_redis_XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) bench::give_up("no directory");
  const auto root = must(
      cachectl::store::Root::open_or_create(path + "/root", cachectl::store::Sharing::owner_only));
  const cachectl::SystemClock clock;

  cachectl::remote::Options options;
  options.server = must(cachectl::remote::parse_url(std::string("unix:") + argv[1]));
  const auto tier = must(cachectl::remote::Tier::open(options, root.directory(), 0600, clock, {}));

  std::vector<cachectl::Key> keys;
  std::vector<cachectl::lock::Fd> files;
  std::vector<cachectl::store::RecordHeader> headers(kBatch);
  std::vector<cachectl::remote::RecordFile> records;
  const std::vector<std::byte> value(kSize, std::byte{'x'});
  for (std::size_t i = 0; i < kBatch; ++i) {
    keys.push_back(must(cachectl::Key::from("bench " + std::to_string(i))));
    auto writer = must(cachectl::store::RecordWriter::create(root, keys.back()));
    must(writer.append_output(value));
    headers[i].created = clock.now();
    headers[i].generation = 1;
    files.emplace_back(::dup(writer.descriptor()));
    must(writer.publish(headers[i], cachectl::store::Place::entry,
                        cachectl::lock::Durability::none));
    std::vector<std::byte> head(4096);
    head.resize(must(cachectl::lock::read_full_at(files.back().get(), head, 0, "the record")));
    headers[i] = must(cachectl::store::decode_header(head));
  }
  for (std::size_t i = 0; i < kBatch; ++i) {
    records.push_back({&keys[i], &headers[i], files[i].get()});
  }
  check(tier->publish_many(records));

  std::size_t bytes = 0;
  std::vector<double> fetched;
  std::vector<double> published;
  for (int round = 0; round < rounds; ++round) {
    auto start = bench::Clock::now();
    check(tier->fetch_many(keys, [&](std::size_t, cachectl::lock::Bytes part) {
      bytes += part.size();
      return cachectl::Result<void>();
    }));
    fetched.push_back(bench::microseconds_since(start));
    start = bench::Clock::now();
    check(tier->publish_many(records));
    published.push_back(bench::microseconds_since(start));
  }
  if (bytes < kSize * kBatch) bench::give_up("too few bytes");
  std::printf("fetched=%.0f published=%.0f a second\n", kBatch * 1e6 / bench::median(fetched),
              kBatch * 1e6 / bench::median(published));
}
