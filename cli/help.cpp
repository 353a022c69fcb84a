// cachectl help [COMMAND]
#include "cli/command.hpp"
#include "cli/dispatch.hpp"

namespace cachectl::cli {

namespace {

class Help final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("COMMAND", command_, "The command to explain", false);
  }
  Result<int> execute(Session& session) override {
    if (command_.empty()) {
      CACHECTL_TRY(session.print(overview()));
      return kDone;
    }
    CACHECTL_ASSIGN(const std::string text, help_of(command_));
    CACHECTL_TRY(session.print(text));
    return kDone;
  }

 private:
  std::string command_;
};

}  // namespace

std::unique_ptr<Command> make_help() { return std::make_unique<Help>(); }

}  // namespace cachectl::cli
