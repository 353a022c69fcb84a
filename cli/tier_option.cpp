#include "cli/tier_option.hpp"

namespace cachectl::cli {

void TierOption::define(Definition& definition) {
  definition_ = &definition;
  definition.option("--tier", tier_, "disk|redis", "Of this disk only, or of the server only");
}

Result<bool> TierOption::is_remote(Session& session) const {
  if (!definition_->was_given("--tier")) return false;
  if (tier_ == "redis") return true;
  if (tier_ != "disk") {
    return fail(Errc::usage, "--tier: there is no tier '" + escaped(tier_) + "'",
                "there are disk and redis");
  }
  session.stay_on_disk();
  return false;
}

}  // namespace cachectl::cli
