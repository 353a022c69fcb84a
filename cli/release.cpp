// cachectl release ID
#include "cli/command.hpp"

namespace cachectl::cli {

namespace {

class Release final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("ID", id_, "The lease, as acquire printed it", true);
    definition.footer(
        "When it returns, the lock is free, unless a command that was started under the lease\n"
        "still works. Exit status 1 when the lease had ended before, and why.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const auto id, lease::Id::parse(id_));
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    const auto released = cache->release(id);
    if (released) return kDone;
    if (released.error().code != Errc::lease_lost) return fail(released.error());
    auto why = released.error();
    [[maybe_unused]] const int failed = session.report(std::move(why).within("release"));
    return kNo;
  }

 private:
  std::string id_;
};

}  // namespace

std::unique_ptr<Command> make_release() { return std::make_unique<Release>(); }

}  // namespace cachectl::cli
