// What [entries.NAME.pool] says, as the options of a pool; and what actions share.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "cli/configured.hpp"
#include "cli/pool_actions.hpp"
#include "cli/progress_line.hpp"
#include "src/config/size.hpp"

namespace cachectl::cli {

Result<Key> pool_key(const PoolArguments& arguments) {
  if (arguments.name.empty()) {
    return fail(Errc::usage, "no name given", "cachectl pool " + arguments.action + " NAME");
  }
  return Key::from(arguments.name);
}

Result<void> can_have_pool(Session& session, const Cache& cache, const Key& key) {
  CACHECTL_ASSIGN(const auto found, cache.inspect(key));
  if (found.entry && found.entry->header().kind == store::Kind::tree) return {};
  CACHECTL_ASSIGN(const auto configured, find_configured(session, key));
  if (configured) return {};
  if (!found.entry) {
    // Other machines may have made it.
    CACHECTL_ASSIGN(const auto taken, cache.tree(key));
    if (taken) return {};
  }
  return fail(Errc::config, "'" + key.printable() + "' is no file or directory, and has no source",
              "store one with cachectl set --dir, or add [entries." + key.printable() + "]");
}

Error expired(const Key& key) {
  return {Errc::config, 0,
          "the value of '" + key.printable() + "' has expired or is missing, and has no source",
          "store it again, or add a source to [entries." + key.printable() + "]"};
}

Result<pool::Options> pool_options(Session& session, const Key& key) {
  CACHECTL_ASSIGN(const auto* settings, session.settings());
  const auto entry = settings->entry(key.bytes()).value_or(config::EntrySettings());
  pool::Options options;
  options.most = static_cast<unsigned>(entry.pool_max);
  options.reset = entry.pool_reset;
  if (!entry.pool_copy.empty()) options.ways = entry.pool_copy;
  if (session.says(config::LogLevel::notice) && is_terminal(STDERR_FILENO)) {
    options.progress = [&session, delay = lock::Deadline::after(std::chrono::seconds(1))](
                           const tree::Progress& done) {
      if (!delay.passed()) return;
      session.progress().show([&] {
        return fmt::format("copying the replica: {} files, {}", done.files,
                           config::format_size(done.bytes));
      });
    };
  }
  return options;
}

std::vector<Way> copying(std::vector<Way> ways) {
  ways.erase(std::remove(ways.begin(), ways.end(), Way::overlay), ways.end());
  return ways;
}

Error no_way(const Key& key, const std::string& why) {
  return {Errc::unsupported, 0,
          "no way that is allowed makes a replica of '" + key.printable() + "': " + why,
          "allow another one in pool.copy"};
}

bool runs_with(const pool::SlotInfo& slot) {
  const char* replica = ::getenv("CACHECTL_REPLICA");
  return replica != nullptr && slot.condition == pool::Condition::leased && slot.path == replica;
}

std::string owner_text(pid_t pid, const std::string& command) {
  return fmt::format("pid {} ({})", pid, command);
}

std::string holders(const pool::Pool& pool) {
  std::string text;
  const auto slots = pool.list();
  if (!slots) return text;
  for (const auto& slot : *slots) {
    if (slot.condition != pool::Condition::leased) continue;
    text += fmt::format("{}replica {} by {}", text.empty() ? "" : "; ", slot.number,
                        slot.state.owner.empty() ? "somebody" : escaped(slot.state.owner));
  }
  return text;
}

}  // namespace cachectl::cli
