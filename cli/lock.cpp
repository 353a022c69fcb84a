// cachectl lock [--key KEY] [--shared] [--try] [--timeout D] [--] COMMAND...
#include <sys/stat.h>

#include "cli/command.hpp"
#include "cli/wait_options.hpp"
#include "cli/watching.hpp"
#include "lock/child.hpp"

namespace cachectl::cli {

namespace {

class Lock final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.option("--key", key_, "KEY", "Lock this key instead of the whole cache");
    definition.flag("--shared", shared_, "Share the lock with others that do so");
    definition.flag("--try", try_, "Do not wait: exit status 1 when it is held");
    define_timeout(definition);
    lease_.define(definition);
    definition.command_line(command_);
    definition.footer(
        "Runs COMMAND while the lock is held and returns its exit status. Commands of cachectl\n"
        "inside it use its lock; as long as a process that it started lives, the lock is held,\n"
        "even if cachectl itself is killed.");
  }

  Result<int> execute(Session& session) override {
    if (command_.empty()) {
      return fail(Errc::usage, "no command given", "cachectl lock -- COMMAND");
    }
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));
    std::optional<Key> key;
    if (definition_->was_given("--key")) {
      CACHECTL_ASSIGN(auto named, Key::from(key_));
      key = std::move(named);
    }
    const auto deadline =
        try_ ? lock::Deadline::immediately() : lock::Deadline::after(settings->timeout);
    std::optional<Watching> watching(std::in_place, session, *cache, key ? &*key : nullptr);
    auto held =
        cache->lock(key ? &*key : nullptr, shared_ ? lock::Mode::shared : lock::Mode::exclusive,
                    watching->watched(deadline), lock::shell_quoted(command_));
    watching.reset();
    if (!held && try_ && held.error().code == Errc::timeout) return kNo;
    if (!held) return fail(std::move(held).error());
    return run(*held);
  }

 private:
  [[nodiscard]] Result<int> run(lock::HeldLock& held) const {
    lock::Command command;
    command.argv = command_;
    command.environment.push_back("CACHECTL_LOCK=" + lock::encode(held.handed_down()));
    command.keep_open.push_back(held.descriptor());
    CACHECTL_ASSIGN(const auto status, lock::run_command(command));
    held.leave_to_children();  // as flock(1): what it left behind may still need the lock
    return status.value;
  }

  Definition* definition_ = nullptr;
  std::string key_;
  bool shared_ = false;
  bool try_ = false;
  std::vector<std::string> command_;
  LeaseOption lease_;
};

}  // namespace

std::unique_ptr<Command> make_lock() { return std::make_unique<Lock>(); }

}  // namespace cachectl::cli
