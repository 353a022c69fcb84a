// cachectl run [OPTIONS] [--] COMMAND...
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "cli/command.hpp"
#include "cli/wait_options.hpp"
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
                       "Its modification time counts; repeatable");
    definition.options("--content", identity_.content, "FILE", "Its content counts; repeatable");
    definition.flag("--force", force_, "Run it even if a fresh value is stored");
    definition.options("--no-store-on", no_store_on_, "N,...",
                       "Store all but these exit statuses, instead of only 0");
    define_timeout(definition);
    lease_.define(definition);
    definition.setting("--on-timeout", "run.on-timeout", "fail|run",
                       "When the lock cannot be had in time: fail, or run uncached");
    define_durability(definition);
    definition.command_line(command_);
    definition.footer(
        "Replays standard output, standard error and exit status of COMMAND. All who ask for it\n"
        "while it runs share that one run, its failure too. COMMAND reads from /dev/null.");
  }

  Result<int> execute(Session& session) override {
    if (command_.empty()) return fail(Errc::usage, "no command given", "cachectl run -- COMMAND");
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(const refresh::RunPolicy policy, policy_of(*settings));
    identity_.argv = command_;
    CACHECTL_ASSIGN(const Key key, definition_->was_given("--key")
                                       ? Key::from(key_)
                                       : refresh::command_key(identity_));
    CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));
    CACHECTL_ASSIGN(const auto result,
                    cache->run(key, {command_, {}}, policy, {STDOUT_FILENO, STDERR_FILENO}));
    return conclude(session, result);
  }

 private:
  Result<refresh::RunPolicy> policy_of(const config::Settings& settings) const {
    refresh::RunPolicy policy;
    policy.ttl = settings.run_ttl;
    policy.force = force_;
    policy.deadline = lock::Deadline::after(settings.timeout);
    policy.on_timeout = settings.run_on_timeout == config::OnTimeout::run
                            ? refresh::OnTimeout::run
                            : refresh::OnTimeout::fail;
    policy.durability = Session::durability(settings);
    policy.pass_signals = true;
    policy.store.only_success = no_store_on_.empty();
    for (const auto& list : no_store_on_) {
      CACHECTL_TRY(parse_statuses(list, policy.store.never_these));
    }
    return policy;
  }

  /// "1,2,77".
  static Result<void> parse_statuses(std::string_view list, std::vector<int>& statuses) {
    while (true) {
      const auto word = list.substr(0, list.find(','));
      int status = -1;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), status);
      if (error != std::errc() || end != word.data() + word.size() || status < 0 || status > 255) {
        return fail(Errc::usage, fmt::format("--no-store-on: '{}' is no exit status", word),
                    "write numbers from 0 to 255, with commas between them");
      }
      statuses.push_back(status);
      if (word.size() == list.size()) return {};
      list.remove_prefix(word.size() + 1);
    }
  }

  static Result<int> conclude(Session& session, const refresh::RunResult& result) {
    if (result.interrupted_by != 0) lock::die_by(result.interrupted_by);
    int status = result.status.value;
    if (result.not_stored) {
      auto why = *result.not_stored;
      const int failed = session.report(std::move(why).within("run: the value was not stored"));
      if (status == kDone) status = failed;
    }
    if (result.not_passed_on) return fail(*result.not_passed_on);
    return status;
  }

  Definition* definition_ = nullptr;
  refresh::CommandIdentity identity_;
  std::string key_;
  bool force_ = false;
  std::vector<std::string> no_store_on_;
  std::vector<std::string> command_;
  LeaseOption lease_;
};

}  // namespace

std::unique_ptr<Command> make_run() { return std::make_unique<Run>(); }

}  // namespace cachectl::cli
