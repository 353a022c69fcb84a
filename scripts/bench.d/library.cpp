// The library against what else a program could do, in one run and in turns.
//
// usage: bench_library DIRECTORY WHAT
//   memory N  hits in memory by N threads, against LMDB's reads in this process
//   disk      hits on disk, against open, read and close of a file
//   compute   get_or_compute by 250 threads, of which 1.2 % miss
//
// Prints one line of key=value pairs: medians of the time of a call in microseconds, of all
// threads together, and their quotient; of compute, requests a second and how many failed.
#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "src/library/layered_cache.hpp"
#include "tests/memory/hit_ratio.hpp"

namespace {

using cachectl::Key;
using cachectl::LayeredCache;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t kKeys = 10'000;
constexpr int kRounds = 7;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_library: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T must(cachectl::Result<T> result) {
  if (!result) give_up(result.error().describe());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

void must_be_0(int status, const char* what) {
  if (status != 0) give_up(std::string(what) + ": " + mdb_strerror(status));
}

/// Calls per second of `work(thread, number of calls)` on some threads.
double rate_of(unsigned threads, std::size_t calls,
               const std::function<void(unsigned, std::size_t)>& work) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> running;
  for (unsigned each = 0; each < threads; ++each) running.emplace_back(work, each, calls);
  for (auto& thread : running) thread.join();
  const Seconds took = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(calls) * threads / took.count();
}

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

/// Medians of both, taken in turns.
void compare(const std::function<double()>& ours, const std::function<double()>& theirs) {
  std::vector<double> a;
  std::vector<double> b;
  for (int round = 0; round < kRounds; ++round) {
    if (round % 2 == 0) a.push_back(ours());
    b.push_back(theirs());
    if (round % 2 != 0) a.push_back(ours());
  }
  std::printf("a_wall=%.4f b_wall=%.4f ratio=%.3f\n", 1e6 / median(a), 1e6 / median(b),
              median(b) / median(a));
}

std::vector<Key> some_keys() {
  std::vector<Key> keys;
  for (std::size_t at = 0; at < kKeys; ++at) keys.push_back(cachectl::test::key_number(at));
  return keys;
}

/// LMDB with the same keys and values.
class Lmdb {
 public:
  Lmdb(const std::string& path, const std::vector<Key>& keys, const std::string& value) {
    must_be_0(mdb_env_create(&environment_), "mdb_env_create");
    must_be_0(mdb_env_set_mapsize(environment_, std::size_t{256} << 20U), "mdb_env_set_mapsize");
    must_be_0(mdb_env_open(environment_, path.c_str(), MDB_NOSUBDIR | MDB_NOSYNC, 0600), "open");
    MDB_txn* transaction = nullptr;
    must_be_0(mdb_txn_begin(environment_, nullptr, 0, &transaction), "mdb_txn_begin");
    must_be_0(mdb_dbi_open(transaction, nullptr, 0, &database_), "mdb_dbi_open");
    for (const auto& key : keys) {
      auto name = value_of(key.bytes());
      auto text = value_of(value);
      must_be_0(mdb_put(transaction, database_, &name, &text, 0), "mdb_put");
    }
    must_be_0(mdb_txn_commit(transaction), "mdb_txn_commit");
  }
  ~Lmdb() { mdb_env_close(environment_); }
  Lmdb(const Lmdb&) = delete;
  Lmdb& operator=(const Lmdb&) = delete;

  /// As its users do: a transaction for each read, renewed and reset.
  void read(const std::vector<Key>& keys, unsigned thread, std::size_t calls) const {
    MDB_txn* transaction = nullptr;
    must_be_0(mdb_txn_begin(environment_, nullptr, MDB_RDONLY, &transaction), "mdb_txn_begin");
    mdb_txn_reset(transaction);
    std::size_t at = thread * 3571;
    for (std::size_t call = 0; call < calls; ++call) {
      must_be_0(mdb_txn_renew(transaction), "mdb_txn_renew");
      auto name = value_of(keys[at % kKeys].bytes());
      MDB_val found;
      must_be_0(mdb_get(transaction, database_, &name, &found), "mdb_get");
      if (found.mv_size != 1024) give_up("LMDB: another value");
      mdb_txn_reset(transaction);
      at += 7919;
    }
    mdb_txn_abort(transaction);
  }

 private:
  static MDB_val value_of(const std::string& text) {
    return {text.size(), const_cast<char*>(text.data())};
  }
  MDB_env* environment_ = nullptr;
  MDB_dbi database_ = 0;
};

void read_ours(LayeredCache& cache, const std::vector<Key>& keys, unsigned thread,
               std::size_t calls) {
  std::size_t at = thread * 3571;
  for (std::size_t call = 0; call < calls; ++call) {
    const auto got = cache.get(keys[at % kKeys]);
    if (!got || !*got || (*got)->output.size() != 1024) give_up("the cache: another value");
    at += 7919;
  }
}

cachectl::Cache open_cache(const std::string& path) {
  cachectl::CacheOptions options;
  options.root = path;
  return must(cachectl::Cache::open(std::move(options)));
}

const std::string& value_of_all() {
  static const std::string value(1024, 'v');
  return value;
}

cachectl::Cache filled_cache(const std::string& directory, const std::vector<Key>& keys) {
  auto disk = open_cache(directory + "/cache");
  cachectl::SetPolicy policy;
  policy.durability = cachectl::lock::Durability::none;
  for (const auto& key : keys) {
    must(disk.set(key, cachectl::lock::bytes_of(value_of_all()), policy));
  }
  return disk;
}

void bench_memory(const std::string& directory, unsigned threads) {
  constexpr std::size_t kCalls = 1'000'000;
  const auto keys = some_keys();
  LayeredCache cache(filled_cache(directory, keys));
  read_ours(cache, keys, 0, kKeys);
  const Lmdb lmdb(directory + "/lmdb", keys, value_of_all());
  compare(
      [&] {
        return rate_of(threads, kCalls, [&](unsigned thread, std::size_t calls) {
          read_ours(cache, keys, thread, calls);
        });
      },
      [&] {
        return rate_of(threads, kCalls,
                       [&](unsigned thread, std::size_t calls) { lmdb.read(keys, thread, calls); });
      });
}

void bench_disk(const std::string& directory) {
  constexpr std::size_t kCalls = 100'000;
  const auto keys = some_keys();
  const auto disk = filled_cache(directory, keys);
  LayeredCache without_memory(disk, {0, {}});
  std::vector<std::string> files;
  for (const auto& key : keys) {
    files.push_back(disk.path() + "/" + cachectl::store::entry_name(key.hash()).path());
  }
  compare(
      [&] {
        return rate_of(1, kCalls, [&](unsigned thread, std::size_t calls) {
          read_ours(without_memory, keys, thread, calls);
        });
      },
      [&] {
        return rate_of(1, kCalls, [&](unsigned, std::size_t calls) {
          std::vector<char> into(64 * 1024);
          for (std::size_t call = 0; call < calls; ++call) {
            const int file = ::open(files[call * 7919 % kKeys].c_str(), O_RDONLY | O_CLOEXEC);
            if (file < 0 || ::read(file, into.data(), into.size()) < 1024) give_up("read");
            ::close(file);
          }
        });
      });
}

void bench_compute(const std::string& directory) {
  constexpr unsigned kThreads = 250;
  constexpr std::size_t kCalls = 8'000;
  constexpr std::size_t kItems = 10'000;
  LayeredCache cache(open_cache(directory + "/compute"));
  const cachectl::test::Zipf zipf(kItems, 0.99);
  std::vector<Key> keys;
  for (std::size_t at = 0; at < kItems; ++at) keys.push_back(cachectl::test::key_number(at));
  cachectl::refresh::ComputePolicy policy;
  policy.durability = cachectl::lock::Durability::none;
  policy.windows.ttl = std::chrono::hours(1);
  const std::string value(1024, 'v');
  std::atomic<std::uint64_t> computed{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> fresh_number{0};
  const auto make = [&]() -> cachectl::Result<std::string> {
    ++computed;
    return value;
  };
  for (const auto& key : keys) must(cache.get_or_compute(key, policy, make));
  computed = 0;
  const double rate = rate_of(kThreads, kCalls, [&](unsigned thread, std::size_t calls) {
    std::mt19937_64 random(thread);
    for (std::size_t call = 0; call < calls; ++call) {
      // Twelve in a thousand ask for what nobody has asked for before.
      const bool is_new = random() % 1000 < 12;
      const auto got =
          is_new ? cache.get_or_compute(
                       cachectl::test::key_number(kItems + fresh_number.fetch_add(1)), policy, make)
                 : cache.get_or_compute(keys[zipf(random)], policy, make);
      if (!got || (*got)->output.size() != 1024) ++failed;
    }
  });
  const auto requests = static_cast<double>(kThreads) * kCalls;
  std::printf("rate=%.0f hit_percent=%.1f failed=%llu\n", rate,
              100 * (1 - static_cast<double>(computed.load()) / requests),
              static_cast<unsigned long long>(failed.load()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[2] : "";
  if (what == "memory" && argc == 4) {
    bench_memory(argv[1], static_cast<unsigned>(std::stoul(argv[3])));
  } else if (what == "disk" && argc == 3) {
    bench_disk(argv[1]);
  } else if (what == "compute" && argc == 3) {
    bench_compute(argv[1]);
  } else {
    give_up("usage: bench_library DIRECTORY memory THREADS | disk | compute");
  }
}
