#include "src/library/layered_cache.hpp"

#include <condition_variable>
#include <cstdint>
#include <optional>

#include "src/config/settings.hpp"

namespace cachectl {

using refresh::How;
using refresh::State;

namespace {

/// Keeps no memory of other fields: a value of the record.
LayeredCache::Value shared_from(refresh::Computed computed) {
  return std::make_shared<const memory::Value>(
      memory::Value{computed.header, std::move(computed.output)});
}

/// From (0, 1]. refresh::draw asks the system each time, which costs more than a hit.
double draw_quickly() {
  thread_local auto state = static_cast<std::uint64_t>(refresh::draw() * 0x1p63);
  // SplitMix64, by Steele, Lea and Flood.
  state += 0x9e3779b97f4a7c15U;
  auto bits = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27U)) * 0x94d049bb133111ebU;
  return (static_cast<double>((bits ^ (bits >> 31U)) >> 11U) + 1) * 0x1p-53;
}

bool may_refresh_early(const refresh::Windows& windows) {
  return windows.beta > 0 || windows.refresh_threshold.count() > 0;
}

}  // namespace

Strategies default_strategies() {
  Strategies all;
  for (const auto& [name, ttl] : config::Settings().strategies) all[name].ttl = ttl;
  return all;
}

/// One computation of this process, and those who wait for it.
struct LayeredCache::Flight {
  std::mutex mutex;
  std::condition_variable landed;
  std::optional<Result<Value>> outcome;

  void land(Result<Value> with) {
    {
      const std::lock_guard guard(mutex);
      outcome = std::move(with);
    }
    landed.notify_all();
  }

  /// nullopt: the deadline passed.
  std::optional<Result<Value>> wait(const lock::Deadline& deadline) {
    std::unique_lock guard(mutex);
    const auto is_over = [this] { return outcome.has_value(); };
    if (deadline.is_never()) {
      landed.wait(guard, is_over);
    } else if (!deadline.is_immediate()) {
      landed.wait_until(guard, deadline.at(), is_over);
    }
    return outcome;
  }
};

LayeredCache::LayeredCache(Cache cache, LayeredOptions options)
    : cache_(std::move(cache)),
      strategies_(std::move(options.strategies)),
      memory_(options.memory),
      no_changes_(options.memory == 0) {}

LayeredCache::~LayeredCache() = default;

void LayeredCache::warn(const Error& what) const { cache_.warn(what); }

/// Null: nothing may be kept in memory.
const store::ChangeTable* LayeredCache::changes(const store::Root& root) {
  const auto* table = changes_.load(std::memory_order_acquire);
  if (table != nullptr && table->is_current()) return table;
  const std::lock_guard guard(tables_mutex_);
  table = changes_.load(std::memory_order_relaxed);
  if (table != nullptr && table->is_current()) return table;
  if (no_changes_) return nullptr;
  auto opened = store::ChangeTable::open(root);
  if (!opened) {
    no_changes_ = true;
    changes_ = nullptr;
    warn(std::move(opened).error().within("values are not kept in memory"));
    return nullptr;
  }
  if (tables_.empty()) coherence_ = cache_.follow_fleet();
  // What was kept under the stamps of another table is not found under those of this one.
  tables_.push_back(std::move(*opened));
  changes_.store(tables_.back().get(), std::memory_order_release);
  return tables_.back().get();
}

LayeredCache::Value LayeredCache::in_memory(const Key& key) {
  const auto* table = changes_.load(std::memory_order_acquire);
  if (table == nullptr || !table->is_current()) return nullptr;
  const auto stamp = table->stamp(key.hash());
  return stamp ? memory_.find(key, *stamp) : nullptr;
}

/// What is stored, whatever its age; kept in memory if it may be.
Result<LayeredCache::Value> LayeredCache::on_disk(const Key& key) {
  CACHECTL_ASSIGN(const store::Root* root, cache_.root());
  if (root == nullptr) return nullptr;
  const auto* table = changes(*root);
  const auto stamp = table != nullptr ? table->stamp(key.hash()) : std::nullopt;
  CACHECTL_ASSIGN(const auto entry, cache_.stored(key));
  if (!entry) return nullptr;
  CACHECTL_ASSIGN(auto output, entry->read(store::Stream::output));
  auto value =
      std::make_shared<const memory::Value>(memory::Value{entry->header(), std::move(output)});
  if (stamp && !store::is_spent(value->header, cache_.clock().now())) {
    memory_.insert(key, value, *stamp);
  }
  return value;
}

Result<LayeredCache::Value> LayeredCache::find(const Key& key) {
  if (auto value = in_memory(key)) return value;
  return on_disk(key);
}

Result<LayeredCache::Value> LayeredCache::get(const Key& key) {
  const auto is_fresh = [this](const Value& value) {
    return value && store::is_fresh(value->header, cache_.clock().now());
  };
  CACHECTL_ASSIGN(auto value, find(key));
  if (is_fresh(value)) return value;
  CACHECTL_ASSIGN(const bool taken, cache_.take_shared(key));
  if (taken) {
    CACHECTL_ASSIGN(value, on_disk(key));
  }
  if (!is_fresh(value)) value.reset();
  return value;
}

Result<std::vector<LayeredCache::Value>> LayeredCache::get_many(const std::vector<Key>& keys) {
  std::vector<Value> values;
  values.reserve(keys.size());
  for (const auto& key : keys) {
    CACHECTL_ASSIGN(auto value, get(key));
    values.push_back(std::move(value));
  }
  return values;
}

Result<void> LayeredCache::set(const Key& key, std::string_view value, const SetPolicy& policy) {
  CACHECTL_TRY(cache_.set(key, lock::bytes_of(value), policy));
  return {};
}

Result<refresh::Windows> LayeredCache::windows_of(std::string_view strategy) const {
  const auto found = strategies_.find(strategy);
  if (found != strategies_.end()) return found->second;
  std::string names;
  for (const auto& each : strategies_) names += (names.empty() ? "" : ", ") + each.first;
  return fail(Errc::usage, "there is no strategy '" + escaped(strategy) + "'",
              "there are: " + names);
}

Result<void> LayeredCache::set_with_strategy(const Key& key, std::string_view value,
                                             std::string_view strategy) {
  CACHECTL_ASSIGN(const auto windows, windows_of(strategy));
  SetPolicy policy;
  policy.ttl = refresh::lifetime(windows, 0, draw_quickly());
  policy.stale_while_revalidate = windows.stale_while_revalidate;
  policy.stale_if_error = windows.stale_if_error;
  return set(key, value, policy);
}

Result<bool> LayeredCache::remove(const Key& key, const WritePolicy& policy) {
  memory_.erase(key);
  return cache_.remove(key, policy);
}

Result<LayeredCache::Value> LayeredCache::get_with_fallback(const Key& key,
                                                            const refresh::Make& make) {
  auto found = get(key);
  if (found && *found) return found;
  if (!found) warn(std::move(found).error().within("the cache cannot be read"));
  CACHECTL_ASSIGN(auto output, refresh::call(make));
  refresh::Computed made;
  made.header.output_size = output.size();
  made.output = std::move(output);
  return shared_from(std::move(made));
}

Result<LayeredCache::Value> LayeredCache::get_or_compute(const Key& key,
                                                         const refresh::ComputePolicy& policy,
                                                         const refresh::Make& make) {
  const auto& windows = policy.windows;
  // When it was last used is known to the disk only.
  if (windows.expire_after_access != std::chrono::nanoseconds::max()) {
    return compute_once(key, policy, make);
  }
  auto found = find(key);
  if (!found && !refresh::can_do_without(found.error())) return found;
  if (!found || !*found) return compute_once(key, policy, make);
  const auto& header = (*found)->header;
  const auto now = cache_.clock().now();
  const auto state = refresh::state_of(header, now, windows, now);
  if (state == State::expired) return compute_once(key, policy, make);
  const bool is_early = state == State::fresh && may_refresh_early(windows) &&
                        refresh::refreshes_early(header, windows, now, draw_quickly());
  if (state == State::stale || is_early) refresh_behind(key, policy, make, header.generation);
  return found;
}

Result<LayeredCache::Value> LayeredCache::get_or_compute_with(const Key& key,
                                                              std::string_view strategy,
                                                              const refresh::Make& make) {
  CACHECTL_ASSIGN(auto windows, windows_of(strategy));
  refresh::ComputePolicy policy;
  policy.windows = std::move(windows);
  return get_or_compute(key, policy, make);
}

Result<LayeredCache::Value> LayeredCache::compute_once(const Key& key,
                                                       const refresh::ComputePolicy& policy,
                                                       const refresh::Make& make) {
  std::shared_ptr<Flight> flight;
  bool leads = false;
  {
    const std::lock_guard guard(flights_mutex_);
    auto& there = flights_[key.bytes()];
    leads = there == nullptr;
    if (leads) there = std::make_shared<Flight>();
    flight = there;
  }
  if (!leads) {
    if (auto outcome = flight->wait(policy.deadline)) return std::move(*outcome);
    return fail(Errc::timeout, "gave up waiting for '" + key.printable() +
                                   "', computed by a thread of this process");
  }
  auto outcome = [&]() -> Result<Value> {
    // Whatever happens, those who wait are woken: a failed allocation comes out of here too.
    try {
      CACHECTL_ASSIGN(auto computed, cache_.compute(key, policy, make));
      return shared_from(std::move(computed));
    } catch (const std::exception& thrown) {
      return fail(Errc::io, "compute '" + key.printable() + "': " + thrown.what());
    }
  }();
  {
    const std::lock_guard guard(flights_mutex_);
    flights_.erase(key.bytes());
  }
  flight->land(outcome);
  return outcome;
}

void LayeredCache::refresh_behind(const Key& key, const refresh::ComputePolicy& policy,
                                  const refresh::Make& make, store::Generation generation) {
  {
    const std::lock_guard guard(flights_mutex_);
    if (!refreshed_.insert(key.bytes()).second) return;
  }
  const auto forget = [this](const Key& done) {
    const std::lock_guard guard(flights_mutex_);
    refreshed_.erase(done.bytes());
  };
  const bool started = refresher_.start([this, key, policy, make, generation, forget] {
    const auto made = cache_.compute_anew(key, policy, make, generation);
    if (!made) warn(Error(made.error()).within("refresh '" + key.printable() + "'"));
    forget(key);
  });
  if (!started) forget(key);
}

}  // namespace cachectl
