// cachectl set KEY [VALUE] [--file FILE | --dir PATH] [--ttl D] [--if-absent], or set --batch
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/configured.hpp"
#include "cli/set_batch.hpp"
#include "cli/tier_option.hpp"
#include "cli/wait_options.hpp"
#include "cli/watching.hpp"
#include "lock/retry.hpp"

namespace cachectl::cli {

namespace {

class Set final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positional("KEY", key_, "The key", false);
    definition.positional("VALUE", value_, "The value; without it, standard input", false);
    definition.option("--file", file_, "FILE", "Read the value from a file");
    definition.option("--dir", tree_, "PATH", "The value is a copy of this directory or file");
    definition.flag("--batch", batch_, "Keys and values are JSON lines of standard input");
    definition.setting("--ttl", "set.ttl", "D", "Expire after this long: 30s, 1h30m, never");
    definition.flag("--if-absent", if_absent_, "Keep a fresh value that is there (exit status 1)");
    tier_.define(definition);
    define_timeout(definition);
    lease_.define(definition);
    define_durability(definition);
    definition.footer(
        "When it returns 0, the value survives a power loss (--durability full).\n"
        "With --batch each line is an object {\"key\": \"...\", \"value\": \"...\"}, and maybe\n"
        "\"ttl\": \"1h\"; bytes that are no UTF-8 stand in key_base64 and value_base64, as get "
        "--json\n"
        "writes them. Each is published on its own. One that is wrong is said with its number,\n"
        "and the rest goes on; the exit status is that of the last that failed. A fresh value\n"
        "that --if-absent keeps is no failure then.");
  }

  Result<int> execute(Session& session) override {
    const bool by_argument = definition_->was_given("VALUE");
    const int sources = int{by_argument} + int{!file_.empty()} + int{!tree_.empty()};
    if (sources > 1) {
      return fail(Errc::usage, "more than one of VALUE, --file and --dir was given",
                  "give one of them");
    }
    if (batch_ && (sources > 0 || definition_->was_given("KEY"))) {
      return fail(Errc::usage, "--batch takes keys and values from standard input only");
    }
    if (!batch_ && !definition_->was_given("KEY")) return fail(Errc::usage, "KEY is required");
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    SetPolicy policy;
    policy.ttl = settings->set_ttl;
    policy.if_absent = if_absent_;
    policy.retention = retention(*settings);
    policy.deadline = lock::Deadline::after(settings->timeout);
    policy.durability = Session::durability(*settings);
    CACHECTL_ASSIGN(const bool is_remote, tier_.is_remote(session));
    if (is_remote && (batch_ || if_absent_ || !tree_.empty())) {
      return fail(Errc::usage, "--tier redis goes with a single value of bytes only",
                  "leave out --batch, --if-absent and --dir");
    }
    CACHECTL_ASSIGN(const Cache* cache, lease_.cache(session));

    if (batch_) return set_batch(session, *cache, policy, settings->timeout);
    CACHECTL_ASSIGN(const Key key, Key::from(key_));
    lock::Fd file;
    if (!file_.empty()) {
      file = lock::Fd(
          lock::retry([&] { return ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
      if (!file.valid()) return fail(system_error("open " + file_));
    }
    const int input = file.valid() ? file.get() : STDIN_FILENO;
    const std::string name = file.valid() ? file_ : "standard input";
    if (!by_argument && tree_.empty()) CACHECTL_TRY(check_not_directory(input, name));
    if (is_remote) {
      CACHECTL_ASSIGN(const bool given, by_argument
                                            ? cache->set_remote(key, lock::bytes_of(value_), policy)
                                            : cache->set_remote_from(key, input, name, policy));
      return given ? kDone : kNo;
    }
    Watching watching(session, *cache, &key);
    policy.deadline = watching.watched(policy.deadline);
    const auto published = !tree_.empty() ? cache->set_tree(key, tree_, policy)
                           : by_argument  ? cache->set(key, lock::bytes_of(value_), policy)
                                          : cache->set_from(key, input, name, policy);
    if (!published) return fail(published.error());
    session.tell(config::LogLevel::info,
                 "'" + key.printable() + "': " +
                     (*published ? "stored generation " + std::to_string(**published)
                                 : "kept, there is a fresh value"));
    return *published ? kDone : kNo;
  }

 private:
  static Result<void> check_not_directory(int descriptor, const std::string& name) {
    CACHECTL_ASSIGN(const struct stat status, lock::status_of(descriptor, name));
    if (!S_ISDIR(status.st_mode)) return {};
    return fail(Errc::usage, name + ": is a directory", "a value is a file or a stream");
  }

  Definition* definition_ = nullptr;
  std::string key_;
  std::string value_;
  std::string file_;
  std::string tree_;
  bool if_absent_ = false;
  bool batch_ = false;
  LeaseOption lease_;
  TierOption tier_;
};

}  // namespace

std::unique_ptr<Command> make_set() { return std::make_unique<Set>(); }

}  // namespace cachectl::cli
