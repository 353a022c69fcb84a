// cachectl acquire [KEY] [--owner PID | --fd N] [--shared] [--try] [--timeout D] [--lease D]
#include "cli/command.hpp"
#include "cli/owner_option.hpp"
#include "cli/wait_options.hpp"
#include "cli/watching.hpp"

namespace cachectl::cli {

namespace {

class Acquire final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positional("KEY", key_, "Lock this key; without it, the whole cache", false);
    owner_.define(definition);
    definition.option("--fd", descriptor_, "N",
                      "No lease: lock descriptor N of the shell, open on ROOT/cache.lock");
    definition.flag("--shared", shared_, "Share the lock with others that do so");
    definition.flag("--try", try_, "Do not wait: exit status 1 when it is held");
    define_timeout(definition);
    definition.footer(
        "Takes the writer lock and prints the id of a lease, which keeps it when this command has\n"
        "ended: until 'cachectl release ID', or until its owner ends, however it does.\n"
        "  id=$(cachectl acquire prices --timeout 30s)\n"
        "  curl -fsS \"$url\" | cachectl set prices --lease \"$id\"; cachectl release \"$id\"\n"
        "With --fd it prints what CACHECTL_LOCK is to be, so that commands of the shell use it:\n"
        "  exec 9<>ROOT/cache.lock\n"
        "  CACHECTL_LOCK=$(cachectl acquire --fd 9 prices) && export CACHECTL_LOCK");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    if (definition_->was_given("KEY")) {
      CACHECTL_ASSIGN(auto named, Key::from(key_));
      locked_ = std::move(named);
    }
    deadline_ = try_ ? lock::Deadline::immediately() : lock::Deadline::after(settings->timeout);
    auto done = definition_->was_given("--fd") ? lock_descriptor(session) : take_lease(session);
    if (!done && try_ && done.error().code == Errc::timeout) return kNo;
    return done;
  }

 private:
  Result<int> take_lease(Session& session) {
    CACHECTL_ASSIGN(const auto duration, owner_.duration());
    // First of all, so that its number cannot come to mean another process while we wait.
    CACHECTL_ASSIGN(const auto owner, owner_.owner());
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    Watching watching(session, *cache, key());
    CACHECTL_ASSIGN(const auto taken,
                    cache->acquire(key(), mode(), watching.watched(deadline_), owner, duration));
    CACHECTL_TRY(session.print(taken.id().text() + "\n"));
    CACHECTL_TRY(taken.confirm());
    return kDone;
  }

  Result<int> lock_descriptor(Session& session) {
    if (definition_->was_given("--owner") || definition_->was_given("--lease")) {
      return fail(Errc::usage, "a lock on a descriptor has no owner and does not expire",
                  "it lasts until the descriptor is closed");
    }
    CACHECTL_ASSIGN(const int descriptor, caller_descriptor(descriptor_));
    CACHECTL_ASSIGN(const Cache* cache, session.cache_under(nullptr));
    const pid_t shell = lock::calling_shell();
    Watching watching(session, *cache, key());
    CACHECTL_ASSIGN(const auto locks,
                    cache->lock_on(descriptor, key(), mode(), watching.watched(deadline_),
                                   lock::ProcessIdentity::of(shell), lock::command_line_of(shell)));
    CACHECTL_TRY(session.print(lock::encode(locks) + "\n"));
    return kDone;
  }

  [[nodiscard]] const Key* key() const { return locked_ ? &*locked_ : nullptr; }
  [[nodiscard]] lock::Mode mode() const {
    return shared_ ? lock::Mode::shared : lock::Mode::exclusive;
  }

  Definition* definition_ = nullptr;
  std::string key_;
  OwnerOption owner_;
  std::string descriptor_;
  bool shared_ = false;
  bool try_ = false;
  std::optional<Key> locked_;
  lock::Deadline deadline_ = lock::Deadline::never();
};

}  // namespace

std::unique_ptr<Command> make_acquire() { return std::make_unique<Acquire>(); }

}  // namespace cachectl::cli
