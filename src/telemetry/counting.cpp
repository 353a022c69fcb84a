#include "src/telemetry/counting.hpp"

#include <exception>

namespace cachectl::telemetry {

namespace {

/// What a happening adds; a counter that is not named gets nothing.
struct Effect {
  What what;
  Counter counter;
  std::optional<Counter> of_bytes = std::nullopt;
  std::optional<Timing> timing = std::nullopt;
};

/// One of each, but for those that have no counter of their own.
constexpr auto kEffects = std::to_array<Effect>({
    {What::hit, Counter::hits, Counter::served, Timing::hit},
    {What::stale_hit, Counter::stale_hits, Counter::served, Timing::hit},
    {What::miss, Counter::misses},
    {What::shared, Counter::shared, Counter::served},
    {What::stand_in, Counter::stand_ins, Counter::served},
    {What::remembered_failure, Counter::remembered_failures, Counter::served},
    {What::uncached, Counter::uncached},
    {What::source_started, Counter::source_runs},
    {What::failed_status, Counter::failed_status},
    {What::failed_timeout, Counter::failed_timeout},
    {What::failed_empty, Counter::failed_empty},
    {What::failed_start, Counter::failed_start},
    {What::failed_store, Counter::failed_store},
    {What::early_refresh, Counter::early_refreshes},
    {What::stale_refresh, Counter::stale_refreshes},
    {What::refresh_ended, Counter::refreshes_ended},
    {What::published, Counter::publishes, Counter::stored},
    {What::removed, Counter::deleted},
    {What::expired, Counter::expired},
    {What::evicted, Counter::evicted, Counter::evicted_size},
    {What::lock_timed_out, Counter::lock_timeouts},
    {What::lease_acquired, Counter::leases},
    {What::lease_lost, Counter::leases_lost},
    {What::checked_in, Counter::checkins},
    {What::pool_exhausted, Counter::pool_timeouts},
    {What::remote_hit, Counter::remote_hits, Counter::remote_received, Timing::remote},
    {What::remote_miss, Counter::remote_misses, std::nullopt, Timing::remote},
    {What::remote_published, Counter::remote_publishes, Counter::remote_sent, Timing::remote},
    {What::remote_removed, Counter::remote_removals, std::nullopt, Timing::remote},
    {What::remote_failed_connection, Counter::remote_failed_connection},
    {What::remote_failed_serialization, Counter::remote_failed_serialization},
    {What::remote_failed_memory, Counter::remote_failed_memory},
    {What::remote_failed_cache, Counter::remote_failed_cache},
    {What::breaker_opened, Counter::breaker_openings},
    {What::breaker_closed, Counter::breaker_closings},
});

/// Those that are counted by their histogram.
struct Timed {
  What what;
  Timing timing;
};
constexpr auto kTimed = std::to_array<Timed>({
    {What::source_ended, Timing::source},
    {What::lock_acquired, Timing::lock_wait},
    {What::lock_released, Timing::lock_hold},
    {What::checked_out, Timing::checkout},
});

bool is_hit(What what) { return what == What::hit || what == What::stale_hit; }

}  // namespace

void Counting::opened(const lock::Directory& root, mode_t file_mode) {
  const std::lock_guard guard(mutex_);
  root_ = &root;
  file_mode_ = file_mode;
}

void Counting::happened(const Happening& what) {
  const std::lock_guard guard(mutex_);
  if (root_ == nullptr || given_up_) return;
  try {
    count(what);
  } catch (const std::exception&) {
    given_up_ = true;  // no memory
  }
}

bool Counting::find_file(CounterFile::Extent extent) {
  if (file_ && file_->is_current(*root_)) return true;
  // The first one may be the only one of this process.
  if (file_) extent = CounterFile::Extent::whole;
  file_.reset();
  file_ = CounterFile::open(*root_, file_mode_, extent);
  given_up_ = !file_;
  return !given_up_;
}

void Counting::count(const Happening& what) {
  const auto entry = what.key.empty() || !entry_of_ ? std::string_view() : entry_of_(what.key);
  const bool is_little =
      is_hit(what.what) && entry.empty() && CounterFile::is_in_first_page(what.duration);
  using Extent = CounterFile::Extent;
  if (!find_file(is_little ? Extent::first_page : Extent::whole)) return;
  const auto row = file_->row_of(entry);
  bool done = true;
  for (const auto& effect : kEffects) {
    if (effect.what != what.what) continue;
    done = file_->add(row, effect.counter, 1);
    if (effect.of_bytes && what.bytes > 0)
      done = done && file_->add(row, *effect.of_bytes, what.bytes);
    if (effect.timing) done = done && file_->add(row, *effect.timing, what.duration);
  }
  for (const auto& timed : kTimed) {
    if (timed.what == what.what) done = file_->add(row, timed.timing, what.duration);
  }
  if (is_hit(what.what) && what.saved.count() > 0) {
    done = done && file_->add(row, Counter::saved, static_cast<std::uint64_t>(what.saved.count()));
  }
  given_up_ = !done;
}

}  // namespace cachectl::telemetry
