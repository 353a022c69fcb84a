// cachectl release ID | --fd N
#include "cli/command.hpp"
#include "cli/wait_options.hpp"

namespace cachectl::cli {

namespace {

class Release final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positional("ID", id_, "The lease, as acquire printed it", false);
    definition.option("--fd", descriptor_, "N", "Unlock descriptor N of the shell instead");
    definition.footer(
        "When it returns, the lock is free, unless a command that was started under the lease\n"
        "still works. Exit status 1 when the lease had ended before, and why.");
  }

  Result<int> execute(Session& session) override {
    if (definition_->was_given("--fd")) return unlock_descriptor(session);
    if (!definition_->was_given("ID")) return fail(Errc::usage, "ID is required");
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
  Result<int> unlock_descriptor(Session& session) const {
    if (definition_->was_given("ID")) return fail(Errc::usage, "both an ID and --fd were given");
    CACHECTL_ASSIGN(const int descriptor, caller_descriptor(descriptor_));
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_TRY(cache->unlock_on(descriptor));
    return kDone;
  }

  Definition* definition_ = nullptr;
  std::string id_;
  std::string descriptor_;
};

}  // namespace

std::unique_ptr<Command> make_release() { return std::make_unique<Release>(); }

}  // namespace cachectl::cli
