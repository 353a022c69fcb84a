// cachectl pool list [NAME] [--json]
#include <fmt/format.h>

#include <algorithm>

#include "cli/json.hpp"
#include "cli/pool_actions.hpp"

namespace cachectl::cli {

namespace {

/// A replica, and the key whose pool it is in.
struct ReplicaRow {
  std::string key;  ///< empty: nothing is stored or configured that has such a pool
  pool::SlotInfo slot;

  [[nodiscard]] bool is_lent() const { return slot.condition == pool::Condition::leased; }
  [[nodiscard]] std::string shown_key() const { return key.empty() ? "?" : escaped(key); }
};

std::string json_line(const ReplicaRow& row) {
  const auto& state = row.slot.state;
  Json object;
  if (row.key.empty()) {
    object["key"] = nullptr;
  } else {
    put_bytes(object, "key", row.key);
  }
  object["slot"] = row.slot.number;
  object["state"] = pool::name_of(row.slot.condition);
  object["generation"] = state.generation;
  object["made_by"] = pool::name_of(state.way);
  object["why"] = escaped(state.why);
  object["owner"] = row.is_lent() ? escaped(state.owner) : "";
  object["lease"] = row.is_lent() ? state.lease : "";
  object["since"] = iso_time(state.since);
  object["path"] = escaped(row.slot.path);
  return one_line(object) + "\n";
}

std::string text_line(const ReplicaRow& row) {
  const auto& state = row.slot.state;
  const auto owner = row.is_lent() ? escaped(state.owner) : std::string();
  return fmt::format("{:>2}  {:<7} {:<9} {}{}{}\n", row.slot.number,
                     pool::name_of(row.slot.condition), pool::name_of(state.way),
                     escaped(row.slot.path), owner.empty() ? "" : "  ", owner);
}

Result<void> add(std::vector<ReplicaRow>& rows, const std::string& key, const pool::Pool& pool) {
  CACHECTL_ASSIGN(auto slots, pool.list());
  for (auto& slot : slots) rows.push_back({key, std::move(slot)});
  return {};
}

/// The replicas of all pools, by key.
Result<std::vector<ReplicaRow>> all_rows(Session& session, const Cache& cache) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  CACHECTL_ASSIGN(auto pools, cache.pools());
  for (const auto& entry : settings->entries) {
    CACHECTL_ASSIGN(const Key key, Key::from(entry.first));
    for (auto& known : pools) {
      if (known.hash == key.hash()) known.key = key.bytes();
    }
  }
  std::sort(pools.begin(), pools.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  std::vector<ReplicaRow> rows;
  for (const auto& known : pools) CACHECTL_TRY(add(rows, known.key, known.pool));
  return rows;
}

Result<std::vector<ReplicaRow>> rows_of(const Cache& cache, const Key& key) {
  std::vector<ReplicaRow> rows;
  CACHECTL_ASSIGN(const auto pool, cache.find_pool(key, {}));
  if (pool) CACHECTL_TRY(add(rows, key.bytes(), *pool));
  return rows;
}

}  // namespace

Result<int> pool_list(Session& session, const PoolArguments& arguments) {
  CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
  std::vector<ReplicaRow> rows;
  const bool all = arguments.name.empty();
  if (all) {
    CACHECTL_ASSIGN(rows, all_rows(session, *cache));
  } else {
    CACHECTL_ASSIGN(const auto key, Key::from(arguments.name));
    CACHECTL_ASSIGN(rows, rows_of(*cache, key));
  }
  std::size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.shown_key().size());
  std::string text;
  for (const auto& row : rows) {
    if (arguments.json) {
      text += json_line(row);
      continue;
    }
    const auto name = all ? fmt::format("{:<{}}  ", row.shown_key(), width) : std::string();
    text += name + text_line(row);
    if (!row.slot.state.why.empty()) {
      text += fmt::format("{:{}}             ({})\n", "", name.size(), escaped(row.slot.state.why));
    }
  }
  CACHECTL_TRY(session.print(text));
  return rows.empty() ? kNo : kDone;
}

}  // namespace cachectl::cli
