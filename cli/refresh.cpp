// cachectl refresh NAME... [--if-expired | --threshold D [--probability P]] [--jobs N] [--json]
#include "cli/batch.hpp"
#include "cli/command.hpp"
#include "src/config/value.hpp"

namespace cachectl::cli {

namespace {

class Refresh final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positionals("NAME", names_, "Keys whose source is configured", true);
    definition.flag("--if-expired", if_expired_, "Only what is not fresh");
    definition.option("--threshold", threshold_, "D",
                      "Only what is not fresh, or within the last D of its TTL ...");
    definition.option("--probability", probability_, "P",
                      "... with this probability: 0.1, 10%; 1 by default");
    batch_.define(definition);
    definition.footer(
        "Runs the sources of [entries.NAME], whether their values are fresh or not, and stores\n"
        "what they make. All who ask while a source runs share that one run. Several run side\n"
        "by side, and a summary on standard error counts what came of them: refreshed, fresh\n"
        "(left alone), shared, stale (an old value stands in for a failure), failed. The exit\n"
        "status is that of the last NAME whose source failed.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const auto leave, leave_fresh());
    return batch_.run(session, names_, leave ? &*leave : nullptr);
  }

 private:
  Result<std::optional<LeaveFresh>> leave_fresh() const {
    LeaveFresh leave;
    const bool has_threshold = definition_->was_given("--threshold");
    const bool has_probability = definition_->was_given("--probability");
    if (has_probability && !has_threshold) {
      return fail(Errc::usage, "--probability without --threshold",
                  "say within how much of the end of the TTL: --threshold 10m");
    }
    if (has_threshold) {
      auto threshold = config::parse_duration(threshold_);
      if (!threshold) return fail(std::move(threshold).error().within("--threshold"));
      leave.threshold = *threshold;
      leave.probability = 1;
    }
    if (has_probability) {
      const auto* option = config::find_entry_option("refresh-probability");
      config::EntrySettings parsed;
      auto done = option->assign(parsed, *option, {probability_, {}, false});
      if (!done) return fail(std::move(done).error().within("--probability"));
      leave.probability = parsed.refresh_probability;
    }
    if (!if_expired_ && !has_threshold) return std::optional<LeaveFresh>();
    return std::optional(leave);
  }

  Definition* definition_ = nullptr;
  std::vector<std::string> names_;
  bool if_expired_ = false;
  std::string threshold_;
  std::string probability_;
  Batch batch_{"refresh"};
};

}  // namespace

std::unique_ptr<Command> make_refresh() { return std::make_unique<Refresh>(); }

}  // namespace cachectl::cli
