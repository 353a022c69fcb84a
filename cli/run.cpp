// cachectl run [OPTIONS] [--] COMMAND...
#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/freshness_options.hpp"
#include "cli/wait_options.hpp"
#include "cli/words.hpp"
#include "src/config/value.hpp"
#include "src/refresh/command_key.hpp"

namespace cachectl::cli {

namespace {

class Run final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.setting("--ttl", "run.ttl", "D",
                       "Serve what is younger than this, 60s by default: 30s, 1h30m, 2d");
    definition.option("--key", key_, "KEY", "Store under this key instead of the command's own");
    definition.option("--scope", identity_.scope, "NAME", "Keep apart from other scopes");
    definition.flag("--cwd", identity_.working_directory, "The working directory counts");
    definition.options("--env", identity_.variables, "NAME", "This variable counts; repeatable");
    definition.options("--modtime", identity_.modified, "FILE",
                       "Its modification time counts, or that it is missing");
    definition.options("--content", identity_.content, "FILE",
                       "Its content counts, or that it is missing");
    definition.flag("--tree", tree_, "The value is what COMMAND makes at $CACHECTL_OUTPUT");
    definition.option("--not-modified", not_modified_, "N",
                      "With --tree: so COMMAND says that the value still holds");
    definition.flag("--force", force_, "Run it even if a fresh value is stored");
    definition.options("--no-store-on", no_store_on_, "N,...",
                       "Store failures too, all but these; default: only exit 0 is");
    freshness_.define(definition);
    define_timeout(definition);
    lease_.define(definition);
    definition.setting("--on-timeout", "run.on-timeout", "fail|run",
                       "When the lock cannot be had in time: fail, or run uncached");
    define_durability(definition);
    definition.command_line(command_);
    definition.footer(
        "Replays standard output, standard error and exit status of COMMAND. All who ask for it\n"
        "while it runs share that one run, its failure too. COMMAND reads from /dev/null, and "
        "runs\n"
        "to its end where its reader goes away (| head), as long as its output can be stored.\n"
        "With --tree, COMMAND makes a file or directory at $CACHECTL_OUTPUT, may start from the\n"
        "last one at $CACHECTL_PREVIOUS, and the path of the value is printed.");
  }

  Result<int> execute(Session& session) override {
    if (command_.empty()) return fail(Errc::usage, "no command given", "cachectl run -- COMMAND");
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    identity_.argv = command_;
    CACHECTL_ASSIGN(const Key key, definition_->was_given("--key")
                                       ? Key::from(key_)
                                       : refresh::command_key(identity_));
    CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));
    refresh::Source source;
    for (const auto& name : identity_.variables) {
      if (!name.empty() && name.find('=') == std::string::npos) continue;
      return fail(Errc::usage, "--env: '" + escaped(name) + "' is no name of a variable",
                  "write --env NAME; its value is that of the environment");
    }
    source.argv = command_;
    if (definition_->was_given("--ttl") && definition_->was_given("--strategy")) {
      return fail(Errc::usage, "both --ttl and --strategy were given", "leave one of them out");
    }
    CACHECTL_ASSIGN(const auto entry, freshness_.entry(*settings));
    CACHECTL_ASSIGN(const refresh::RunPolicy policy, policy_of(entry, *settings));
    source.longest = entry.source_timeout;
    source.makes_tree = tree_;
    if (definition_->was_given("--not-modified")) {
      if (!tree_) return fail(Errc::usage, "--not-modified without --tree");
      auto status = config::parse_status(not_modified_);
      if (!status) return fail(std::move(status).error().within("--not-modified"));
      source.not_modified = *status;
    }
    const refresh::Sink sink{tree_ ? -1 : STDOUT_FILENO, STDERR_FILENO};
    CACHECTL_ASSIGN(const auto result, run_watched(session, *cache, key, source, policy, sink));
    CACHECTL_ASSIGN(const int status, conclude(session, result, "run"));
    if (result.tree && status == kDone) CACHECTL_TRY(session.print(result.tree->path() + "\n"));
    refresh_if_due(session, *cache, key, source, policy, result, refresh::Child::ours);
    return status;
  }

 private:
  Result<refresh::RunPolicy> policy_of(const config::EntrySettings& entry,
                                       const config::Settings& settings) const {
    auto policy = cli::policy_of(entry, settings);
    policy.force = force_;
    policy.keeps_kind = true;
    policy.on_timeout = settings.run_on_timeout;
    policy.store.only_success = no_store_on_.empty();
    for (const auto& list : no_store_on_) {
      CACHECTL_TRY(each_word(list, [&](std::string_view word) -> Result<void> {
        const auto status = config::parse_whole(word, 255);
        if (!status) {
          return fail(Errc::usage, fmt::format("--no-store-on: '{}' is no exit status", word),
                      "write numbers from 0 to 255, with commas between them");
        }
        policy.store.never_these.push_back(static_cast<int>(*status));
        return {};
      }));
    }
    return policy;
  }

  Definition* definition_ = nullptr;
  refresh::CommandIdentity identity_;
  std::string key_;
  bool force_ = false;
  bool tree_ = false;
  std::string not_modified_;
  std::vector<std::string> no_store_on_;
  std::vector<std::string> command_;
  LeaseOption lease_;
  FreshnessOptions freshness_;
};

}  // namespace

std::unique_ptr<Command> make_run() { return std::make_unique<Run>(); }

}  // namespace cachectl::cli
