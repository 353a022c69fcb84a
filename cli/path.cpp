// cachectl path KEY [--pin -- COMMAND...]
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/wait_options.hpp"
#include "lock/child.hpp"

namespace cachectl::cli {

namespace {

class Path final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("KEY", key_, "A key whose value is a file or directory", true);
    definition.flag("--pin", pin_, "Run COMMAND, and keep what the path names until it has ended");
    define_timeout(definition);
    definition.command_behind_dashes(command_);
    definition.footer(
        "Prints the path of the value, which never changes and is never half written; what\n"
        "is configured and has expired is made first. A superseded value stays for a while\n"
        "([trees] in the configuration), and for as long as a COMMAND pins it, which finds\n"
        "its path in $CACHECTL_PATH. Exit status 1 when there is no fresh value.");
  }

  Result<int> execute(Session& session) override {
    if (pin_ != !command_.empty()) {
      return fail(Errc::usage, pin_ ? "--pin without a command" : "a command without --pin",
                  "cachectl path KEY --pin -- COMMAND");
    }
    CACHECTL_ASSIGN(const Key key, Key::from(key_));
    CACHECTL_ASSIGN(const auto found, tree_of(session, key));
    if (!found.tree) return found.status != kDone ? found.status : kNo;
    if (pin_) return run(*found.tree);
    CACHECTL_TRY(session.print(found.tree->path() + "\n"));
    return kDone;
  }

 private:
  [[nodiscard]] Result<int> run(const store::Tree& tree) const {
    lock::Command command;
    command.argv = command_;
    command.environment.push_back("CACHECTL_PATH=" + tree.path());
    command.keep_open.push_back(tree.descriptor());
    CACHECTL_ASSIGN(const auto status, lock::run_command(command));
    return status.value;
  }

  std::string key_;
  bool pin_ = false;
  std::vector<std::string> command_;
};

}  // namespace

std::unique_ptr<Command> make_path() { return std::make_unique<Path>(); }

}  // namespace cachectl::cli
