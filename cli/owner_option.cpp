#include "cli/owner_option.hpp"

#include "cli/wait_options.hpp"
#include "lock/number.hpp"
#include "lock/process.hpp"
#include "src/config/duration.hpp"

namespace cachectl::cli {

void OwnerOption::define(Definition& definition) {
  definition_ = &definition;
  definition.option("--owner", owner_, "PID", "Ends with this process; default: the shell");
  definition.option("--lease", duration_, "D", "Ends after this long, too: 30s, 1h");
}

Result<std::chrono::nanoseconds> OwnerOption::duration() const {
  if (!definition_->was_given("--lease")) return config::never;
  return lease_duration(duration_);
}

Result<lease::Owner> OwnerOption::owner() const {
  pid_t pid = 0;
  if (!definition_->was_given("--owner")) {
    pid = lock::calling_shell();
    if (pid <= 0) {
      return fail(Errc::usage, "the calling shell is in another PID namespace",
                  "say with --owner which process is to own the lease");
    }
    return lease::Owner::of(pid);
  }
  if (!parse_number(owner_, pid) || pid <= 0) {
    return fail(Errc::usage, "--owner: '" + escaped(owner_) + "' is no process",
                "give a PID, as $$ is");
  }
  auto owner = lease::Owner::of(pid);
  if (!owner) return fail(std::move(owner).error().within("--owner"));
  return owner;
}

}  // namespace cachectl::cli
