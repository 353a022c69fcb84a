// cachectl pool ACTION: which action, and whether what was given is for it.
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
    struct Action {
      std::string_view name;
      Result<int> (*run)(Session&, const PoolArguments&);
    };
    constexpr std::array<Action, 7> kActions{{{"exec", &pool_exec},
                                              {"checkout", &pool_checkout},
                                              {"checkin", &pool_checkin},
                                              {"list", &pool_list},
                                              {"resize", &pool_resize},
                                              {"reset", &pool_reset},
                                              {"drain", &pool_drain}}};
    std::array<std::string_view, kActions.size()> names;
    for (std::size_t i = 0; i < kActions.size(); ++i) {
      names.at(i) = kActions.at(i).name;
      if (kActions.at(i).name == arguments_.action) return kActions.at(i).run(session, arguments_);
    }
    return fail(Errc::usage, "unknown action '" + escaped(arguments_.action) + "'",
                config::did_you_mean(config::nearest(arguments_.action, names)));
  }

 private:
  PoolArguments arguments_;
};

}  // namespace

std::unique_ptr<Command> make_pool() { return std::make_unique<PoolCommand>(); }

}  // namespace cachectl::cli
