// cachectl delete KEY... | --prefix PREFIX | --all [--yes]
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/tier_option.hpp"
#include "cli/wait_options.hpp"
#include "cli/watching.hpp"

namespace cachectl::cli {

namespace {

class Delete final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("KEY", keys_, "The keys", false);
    definition.option("--prefix", prefix_, "PREFIX", "All keys that begin so");
    definition.flag("--all", all_, "All keys; asks on a terminal");
    definition.flag("--yes,-y", yes_, "Do not ask");
    tier_.define(definition);
    define_timeout(definition);
    lease_.define(definition);
    define_durability(definition);
    definition.footer("Exit status 1 when there was nothing to remove.");
  }

  Result<int> execute(Session& session) override {
    const int ways = (keys_.empty() ? 0 : 1) + (prefix_.empty() ? 0 : 1) + (all_ ? 1 : 0);
    if (ways != 1) {
      return fail(Errc::usage, ways == 0 ? "nothing to delete was named" : "too much was named",
                  "give keys, or --prefix, or --all");
    }
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    const WritePolicy policy{lock::Deadline::after(settings->timeout),
                             Session::durability(*settings)};
    CACHECTL_ASSIGN(const bool is_remote, tier_.is_remote(session));
    if (is_remote) return delete_remote(session);
    CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));
    if (!keys_.empty()) return delete_keys(session, *cache, policy);
    if (all_) {
      CACHECTL_ASSIGN(const bool agreed, confirm(cache->path()));
      if (!agreed) return kNo;
    }
    CACHECTL_ASSIGN(const std::uint64_t count, delete_some(session, *cache, policy));
    return count > 0 ? kDone : kNo;
  }

 private:
  Result<int> delete_keys(Session& session, const Cache& cache, WritePolicy policy) const {
    const auto deadline = policy.deadline;
    bool any = false;
    for (const auto& bytes : keys_) {
      CACHECTL_ASSIGN(const Key key, Key::from(bytes));
      Watching watching(session, cache, &key);
      policy.deadline = watching.watched(deadline);
      CACHECTL_ASSIGN(const bool removed, cache.remove(key, policy));
      any = any || removed;
      session.tell(config::LogLevel::info,
                   "'" + key.printable() + "': " + (removed ? "removed" : "there was none"));
    }
    return any ? kDone : kNo;
  }

  Result<int> delete_remote(Session& session) const {
    if (keys_.empty()) {
      return fail(Errc::usage, "of the server only keys can be deleted",
                  "for all of them: cachectl redis flush --namespace");
    }
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    bool any = false;
    for (const auto& bytes : keys_) {
      CACHECTL_ASSIGN(const Key key, Key::from(bytes));
      CACHECTL_ASSIGN(const bool removed, cache->remove_remote(key));
      any = any || removed;
    }
    return any ? kDone : kNo;
  }

  Result<std::uint64_t> delete_some(Session& session, const Cache& cache,
                                    WritePolicy policy) const {
    std::optional<Key> current;
    Watching watching(session, cache, nullptr);
    policy.deadline = watching.watched(policy.deadline);
    return cache.remove_if(
        [&](std::string_view bytes) {
          if (!all_ && !bytes.starts_with(prefix_)) return false;
          if (auto key = Key::from(std::string(bytes))) {
            current = std::move(*key);
            watching.turn_to(*current);
          }
          return true;
        },
        policy);
  }

  [[nodiscard]] Result<bool> confirm(const std::string& path) const {
    if (yes_) return true;
    if (!is_terminal(STDIN_FILENO)) {
      return fail(Errc::usage, "--all asks, and there is no terminal to ask on", "add --yes");
    }
    const auto question = "Remove all keys of " + path + "? [y/N] ";
    CACHECTL_TRY(lock::write_all(STDERR_FILENO, lock::bytes_of(question), "standard error"));
    char answer = 'n';
    CACHECTL_ASSIGN(const std::size_t got,
                    lock::read_some(STDIN_FILENO, std::as_writable_bytes(std::span(&answer, 1)),
                                    "standard input"));
    return got == 1 && (answer == 'y' || answer == 'Y');
  }

  std::vector<std::string> keys_;
  std::string prefix_;
  bool all_ = false;
  bool yes_ = false;
  LeaseOption lease_;
  TierOption tier_;
};

}  // namespace

std::unique_ptr<Command> make_delete() { return std::make_unique<Delete>(); }

}  // namespace cachectl::cli
