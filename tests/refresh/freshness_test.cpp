#include "src/refresh/freshness.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

namespace cachectl::refresh {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr WallTime kStart{hours(24 * 365 * 50)};

/// A value made at kStart with this TTL, whose source took two seconds.
store::RecordHeader made(nanoseconds ttl) {
  store::RecordHeader header;
  header.created = kStart;
  header.expires = later(kStart, ttl);
  header.source_duration = seconds(2);
  return header;
}

Windows windows_of(nanoseconds ttl, nanoseconds revalidate, nanoseconds error) {
  Windows windows;
  windows.ttl = ttl;
  windows.stale_while_revalidate = revalidate;
  windows.stale_if_error = error;
  return windows;
}

/// "fresh", with "+" where it may replace a failure.
std::string told(const store::RecordHeader& header, const Windows& windows, nanoseconds after) {
  const auto now = kStart + after;
  const auto state = state_of(header, kStart, windows, now);
  std::string text = state == State::fresh ? "fresh" : state == State::stale ? "stale" : "expired";
  return may_replace_failure(header, windows, now) ? text + "+" : text;
}

constexpr nanoseconds kTick{1};
constexpr nanoseconds kAlways = nanoseconds::max();

TEST_CASE("freshness: the boundaries of every window", "[freshness]") {
  const auto windows = windows_of(seconds(10), seconds(20), seconds(60));
  const auto header = made(seconds(10));
  CHECK(told(header, windows, seconds(0)) == "fresh+");
  CHECK(told(header, windows, seconds(10) - kTick) == "fresh+");
  CHECK(told(header, windows, seconds(10)) == "stale+");
  CHECK(told(header, windows, seconds(30) - kTick) == "stale+");
  CHECK(told(header, windows, seconds(30)) == "expired+");
  CHECK(told(header, windows, seconds(70) - kTick) == "expired+");
  CHECK(told(header, windows, seconds(70)) == "expired");
}

TEST_CASE("freshness: the shorter of what was stored and what is asked for", "[freshness]") {
  CHECK(told(made(seconds(10)), windows_of(hours(1), seconds(0), seconds(0)), seconds(10)) ==
        "expired");
  CHECK(told(made(hours(1)), windows_of(seconds(10), seconds(5), seconds(0)), seconds(14)) ==
        "stale");
  CHECK(told(made(hours(1)), windows_of(seconds(10), seconds(5), seconds(0)), seconds(15)) ==
        "expired");
}

TEST_CASE("freshness: zero and infinite times", "[freshness]") {
  CHECK(told(made(kAlways), windows_of(kAlways, seconds(0), seconds(0)), hours(1'000'000)) ==
        "fresh+");
  CHECK(told(made(seconds(0)), windows_of(seconds(0), seconds(0), seconds(0)), seconds(0)) ==
        "expired");
  CHECK(told(made(seconds(0)), windows_of(seconds(0), kAlways, kAlways), hours(1'000'000)) ==
        "stale+");
  CHECK(told(made(seconds(1)), windows_of(seconds(1), seconds(0), kAlways), hours(1'000'000)) ==
        "expired+");
}

TEST_CASE("freshness: a clock that is set back makes what it wrote expired", "[freshness]") {
  const auto windows = windows_of(hours(1), hours(1), hours(1));
  const auto header = made(hours(1));
  CHECK(told(header, windows, -seconds(5)) == "fresh+");  // clocks of two machines may differ
  CHECK(told(header, windows, -seconds(5) - kTick) == "expired");
  CHECK(told(header, windows, -hours(24)) == "expired");
  CHECK(told(header, windows, hours(24)) == "expired");
}

TEST_CASE("freshness: what nobody reads expires", "[freshness]") {
  auto windows = windows_of(hours(24), seconds(0), seconds(0));
  windows.expire_after_access = hours(1);
  const auto header = made(hours(24));
  const auto at = [&](WallTime used, nanoseconds after) {
    return state_of(header, used, windows, kStart + after);
  };
  CHECK(at(kStart, hours(1) - kTick) == State::fresh);
  CHECK(at(kStart, hours(1)) == State::expired);
  CHECK(at(kStart + hours(2), hours(3) - kTick) == State::fresh);
  CHECK(at(kStart + hours(2), hours(3)) == State::expired);
}

TEST_CASE("freshness: the TTL of a status", "[freshness]") {
  auto windows = windows_of(hours(1), seconds(0), seconds(0));
  windows.ttl_by_status = {{22, seconds(30)}};
  CHECK(windows.ttl_of(0) == hours(1));
  CHECK(windows.ttl_of(22) == seconds(30));
  CHECK(lifetime(windows, 22, 1) == seconds(30));
  auto failed = made(hours(1));
  failed.exit_status = 22;
  CHECK(told(failed, windows, seconds(30) - kTick) == "fresh+");
  CHECK(told(failed, windows, seconds(30)) == "expired");
}

TEST_CASE("freshness: jitter only shortens, by no more than its part", "[freshness]") {
  auto windows = windows_of(seconds(100), seconds(0), seconds(0));
  CHECK(lifetime(windows, 0, 1) == seconds(100));
  windows.jitter = 0.25;
  CHECK(lifetime(windows, 0, 1) == seconds(75));
  CHECK(lifetime(windows, 0, 0.5) == nanoseconds(87'500'000'000));
  windows.jitter = 1;
  CHECK(lifetime(windows, 0, 1) == seconds(0));
  windows.ttl = kAlways;
  CHECK(lifetime(windows, 0, 1) == kAlways);
}

TEST_CASE("freshness: XFetch refreshes as early as its formula says", "[freshness]") {
  // P(refresh, with t left) = P(-delta * beta * ln(u) >= t) = e^(-t / (beta * delta))
  auto windows = windows_of(seconds(60), seconds(0), seconds(0));
  windows.beta = 1.5;
  const auto header = made(seconds(60));
  const double scale = 1.5 * 2;  // delta is two seconds
  std::mt19937_64 random(20151);
  constexpr int kReads = 100'000;
  for (const double left : {0.3, 1.0, 3.0, 6.0, 12.0}) {
    const auto now = kStart + seconds(60) - nanoseconds(static_cast<std::int64_t>(left * 1e9));
    int refreshes = 0;
    for (int read = 0; read < kReads; ++read) {
      const double u = (static_cast<double>(random() >> 11U) + 1) / 9007199254740992.0;
      refreshes += refreshes_early(header, windows, now, u) ? 1 : 0;
    }
    const double expected = std::exp(-left / scale);
    const double error = std::sqrt(expected * (1 - expected) / kReads);
    INFO(left << " s left: " << refreshes << " of " << kReads << ", expected " << expected);
    CHECK(std::abs(static_cast<double>(refreshes) / kReads - expected) <= 3 * error);
  }
}

TEST_CASE("freshness: beta 0 never refreshes early, nor does what never expires", "[freshness]") {
  auto windows = windows_of(seconds(60), seconds(0), seconds(0));
  const double least = 1 / 9007199254740992.0;
  CHECK_FALSE(refreshes_early(made(seconds(60)), windows, kStart + seconds(60) - kTick, least));
  windows.beta = 1;
  CHECK(refreshes_early(made(seconds(60)), windows, kStart + seconds(60) - kTick, least));
  CHECK_FALSE(refreshes_early(made(seconds(60)), windows, kStart, 1));
  windows.ttl = kAlways;
  CHECK_FALSE(refreshes_early(made(kAlways), windows, kStart, least));
}

TEST_CASE("freshness: the threshold and its probability", "[freshness]") {
  auto windows = windows_of(seconds(60), seconds(0), seconds(0));
  windows.refresh_threshold = seconds(10);
  windows.refresh_probability = 0.25;
  const auto header = made(seconds(60));
  CHECK_FALSE(refreshes_early(header, windows, kStart + seconds(50) - kTick, 0.1));
  CHECK(refreshes_early(header, windows, kStart + seconds(50), 0.25));
  CHECK_FALSE(refreshes_early(header, windows, kStart + seconds(50), 0.26));
  windows.refresh_probability = 0;
  CHECK_FALSE(refreshes_early(header, windows, kStart + seconds(59), 1e-16));
}

TEST_CASE("freshness: a drawn number is above 0 and at most 1, and spread", "[freshness]") {
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double u = draw();
    REQUIRE(u > 0);
    REQUIRE(u <= 1);
    sum += u;
  }
  CHECK(sum / 10'000 == Approx(0.5).margin(0.02));  // seven standard errors
}

}  // namespace
}  // namespace cachectl::refresh
