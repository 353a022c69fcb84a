// cachectl version
#include "cli/command.hpp"

namespace cachectl::cli {

namespace {

class Version final : public Command {
 public:
  void define(Definition&) override {}
  Result<int> execute(Session& session) override {
    CACHECTL_TRY(session.print("cachectl " CACHECTL_VERSION " (lock backend " +
                               std::string(lock::backend.name) + ", record format " +
                               std::to_string(store::RecordHeader::kVersion) + ")\n"));
    return kDone;
  }
};

}  // namespace

std::unique_ptr<Command> make_version() { return std::make_unique<Version>(); }

}  // namespace cachectl::cli
