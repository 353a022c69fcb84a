// cachectl warm NAME... | --all [--jobs N] [--json]
#include "cli/batch.hpp"
#include "cli/command.hpp"
#include "cli/exit_status.hpp"

namespace cachectl::cli {

namespace {

class Warm final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("NAME", names_, "Keys whose source is configured", false);
    definition.flag("--all", all_, "All entries of the configuration with warm = true");
    batch_.define(definition);
    definition.footer(
        "Makes those values that are not fresh, before somebody asks for them: for cron and CI.\n"
        "Fresh ones cost nothing. The summary and the exit status are those of refresh, which\n"
        "does the same with --if-expired.");
  }

  Result<int> execute(Session& session) override {
    if (all_ == !names_.empty()) {
      return fail(Errc::usage, all_ ? "too much was named" : "nothing to warm was named",
                  "give names, or --all");
    }
    if (all_) {
      CACHECTL_ASSIGN(const auto* settings, session.settings());
      for (const auto& section : settings->entries) {
        const auto& name = section.first;
        if (settings->entry(name)->warm) names_.push_back(name);
      }
      if (names_.empty()) {
        session.tell("warm: no entry has warm = true; see cachectl config path");
        return kDone;
      }
    }
    const LeaveFresh fresh;
    return batch_.run(session, names_, &fresh);
  }

 private:
  std::vector<std::string> names_;
  bool all_ = false;
  Batch batch_{"warm"};
};

}  // namespace

std::unique_ptr<Command> make_warm() { return std::make_unique<Warm>(); }

}  // namespace cachectl::cli
