// cachectl pool ACTION: which action, and whether what was given is for it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/command.hpp"
#include "cli/pool_actions.hpp"
#include "cli/wait_options.hpp"
#include "src/config/nearest.hpp"

namespace cachectl::cli {

namespace {

class PoolCommand final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positional("ACTION", arguments_.action, "What to do, see below", true);
    definition.positional("NAME", arguments_.name, "The key; for checkin the path of a replica",
                          false);
    definition.positional("N", arguments_.number, "For resize: how many", false);
    arguments_.owner.define(definition);
    definition.flag("--publish", arguments_.publish,
                    "checkin: the replica becomes the value of the key");
    definition.flag("--json", arguments_.json, "list: as JSON lines");
    define_timeout(definition);
    definition.command_behind_dashes(arguments_.command);
    definition.footer(
        "exec NAME -- COMMAND  run COMMAND with a replica of its own, at $CACHECTL_REPLICA\n"
        "checkout NAME         print the path of a replica that is the caller's own\n"
        "checkin PATH          give it back\n"
        "list [NAME]           the replicas, who has them, and how they were made\n"
        "resize NAME N         make replicas, or remove idle ones, until there are N\n"
        "reset NAME            make idle replicas like new\n"
        "drain NAME            wait for all replicas and remove them\n"
        "A replica is a private, writable copy of a value that is a file or directory. It is\n"
        "brought up to date when it is taken, and the value too if it has expired and has a\n"
        "source ([entries.NAME] in the configuration). When its owner ends, it is free.");
  }

  Result<int> execute(Session& session) override {
    std::array<std::string_view, kActions.size()> names;
    for (std::size_t i = 0; i < kActions.size(); ++i) {
      const auto& action = kActions.at(i);
      names.at(i) = action.name;
      if (action.name != arguments_.action) continue;
      if (action.run == &pool_exec && arguments_.command.empty()) {
        return fail(Errc::usage, "no command given", "cachectl pool exec NAME -- COMMAND");
      }
      CACHECTL_TRY(check_applies(action));
      return action.run(session, arguments_);
    }
    return fail(Errc::usage, "unknown action '" + escaped(arguments_.action) + "'",
                config::did_you_mean(config::nearest(arguments_.action, names)));
  }

 private:
  struct Action {
    std::string_view name;
    Result<int> (*run)(Session&, const PoolArguments&);
    std::array<std::string_view, 3> takes;  ///< beside NAME

    [[nodiscard]] bool has(std::string_view what) const {
      return std::find(takes.begin(), takes.end(), what) != takes.end();
    }
  };
  static constexpr std::array<Action, 7> kActions{{
      {"exec", &pool_exec, {"COMMAND", "--timeout"}},
      {"checkout", &pool_checkout, {"--owner", "--lease", "--timeout"}},
      {"checkin", &pool_checkin, {"--publish", "--timeout"}},
      {"list", &pool_list, {"--json"}},
      {"resize", &pool_resize, {"N", "--timeout"}},
      {"reset", &pool_reset, {"--timeout"}},
      {"drain", &pool_drain, {"--timeout"}},
  }};

  [[nodiscard]] bool was_given(std::string_view what) const {
    if (what == "COMMAND") return !arguments_.command.empty();
    if (what == "N") return !arguments_.number.empty();
    return definition_->was_given(std::string(what));
  }

  /// Nothing that was given is silently ignored.
  [[nodiscard]] Result<void> check_applies(const Action& action) const {
    for (const auto& other : kActions) {
      for (const auto what : other.takes) {
        if (what.empty() || action.has(what) || !was_given(what)) continue;
        std::string takers;
        for (const auto& taker : kActions) {
          if (taker.has(what)) takers += (takers.empty() ? "" : ", ") + std::string(taker.name);
        }
        return fail(Errc::usage, fmt::format("{} has no {}", action.name, what),
                    "that is for " + takers);
      }
    }
    return {};
  }

  const Definition* definition_ = nullptr;
  PoolArguments arguments_;
};

}  // namespace

std::unique_ptr<Command> make_pool() { return std::make_unique<PoolCommand>(); }

}  // namespace cachectl::cli
