// cachectl refresh NAME...
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/wait_options.hpp"

namespace cachectl::cli {

namespace {

class Refresh final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positionals("NAME", names_, "Keys whose source is configured", true);
    define_timeout(definition);
    define_durability(definition);
    lease_.define(definition);
    definition.footer(
        "Runs the sources of [entries.NAME], whether their values are fresh or not, and stores\n"
        "what they make. All who ask while a source runs share that one run. The exit status\n"
        "is that of the last source that failed.");
  }

  Result<int> execute(Session& session) override {
    int status = kDone;
    for (const auto& name : names_) {
      CACHECTL_ASSIGN(const Key key, Key::from(name));
      CACHECTL_ASSIGN(auto configured, find_configured(session, key));
      if (!configured) {
        return fail(
            Errc::config, "no source is configured for '" + key.printable() + "'",
            "add [entries." + key.printable() + "] with a source; see cachectl config path");
      }
      CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));
      configured->policy.force = true;
      CACHECTL_ASSIGN(const auto result,
                      cache->run(key, configured->source, configured->policy, {-1, STDERR_FILENO}));
      CACHECTL_ASSIGN(const int ended, conclude(session, result, "refresh"));
      if (ended != kDone) status = ended;
    }
    return status;
  }

 private:
  std::vector<std::string> names_;
  LeaseOption lease_;
};

}  // namespace

std::unique_ptr<Command> make_refresh() { return std::make_unique<Refresh>(); }

}  // namespace cachectl::cli
