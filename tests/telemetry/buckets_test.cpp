#include "src/telemetry/buckets.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <random>

namespace cachectl::telemetry {

using std::chrono::nanoseconds;

TEST_CASE("buckets: each duration lies in its bucket, and the buckets leave no gap") {
  CHECK(bucket_of(nanoseconds(-1)) == 0);
  CHECK(bucket_of(nanoseconds(0)) == 0);
  CHECK(bucket_of(nanoseconds::max()) == kBuckets - 1);
  for (std::size_t bucket = 0; bucket + 1 < kBuckets; ++bucket) {
    const auto end = end_of_bucket(bucket);
    REQUIRE(bucket_of(end - nanoseconds(1)) == bucket);
    REQUIRE(bucket_of(end) == bucket + 1);
  }
}

TEST_CASE("buckets: quantiles are off by less than 5 % of what sorting all durations gives") {
  std::mt19937_64 random(7);  // NOLINT(*-msc32-c,*-msc51-cpp): the same each time
  std::vector<std::int64_t> durations(20'000);
  // From microseconds to hours.
  std::uniform_real_distribution<double> power(11, 43);
  Histogram histogram;
  for (auto& duration : durations) {
    duration = static_cast<std::int64_t>(std::exp2(power(random)));
    ++histogram.buckets[bucket_of(nanoseconds(duration))];
  }
  std::sort(durations.begin(), durations.end());
  CHECK(histogram.count() == durations.size());
  for (const double part : {0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0}) {
    const auto place = std::max(1.0, std::ceil(part * static_cast<double>(durations.size()))) - 1;
    const auto exact = static_cast<double>(durations[static_cast<std::size_t>(place)]);
    const auto told = static_cast<double>(histogram.quantile(part).count());
    CHECK(std::abs(told - exact) < 0.05 * exact);
  }
}

TEST_CASE("buckets: nothing counted has no quantiles, and sums add up") {
  Histogram one;
  CHECK(one.quantile(0.5) == nanoseconds(0));
  one.buckets[5] = 3;
  one.sum = 30;
  Histogram other = one;
  other.buckets[9] = 1;
  one += other;
  CHECK(one.count() == 7);
  CHECK(one.sum == 60);
}

}  // namespace cachectl::telemetry
