// Command: one subcommand, defined and executed apart, so that help, manual pages and
// completions can be made from the definition alone.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "cli/definition.hpp"
#include "cli/exit_status.hpp"
#include "cli/session.hpp"

namespace cachectl::cli {

class Command {
 public:
  virtual ~Command() = default;
  virtual void define(Definition& definition) = 0;
  /// The exit status.
  [[nodiscard]] virtual Result<int> execute(Session& session) = 0;
};

struct CommandEntry {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<Command> (*make)();
};

/// All of them, in the order of the help. Only the one that was named is built: setting
/// up the options of all would cost a third of a process start.
[[nodiscard]] std::span<const CommandEntry> commands();
[[nodiscard]] const CommandEntry* find_command(std::string_view name);

std::unique_ptr<Command> make_acquire();
std::unique_ptr<Command> make_config();
std::unique_ptr<Command> make_daemon();
std::unique_ptr<Command> make_delete();
std::unique_ptr<Command> make_doctor();
std::unique_ptr<Command> make_gc();
std::unique_ptr<Command> make_get();
std::unique_ptr<Command> make_help();
std::unique_ptr<Command> make_lease();
std::unique_ptr<Command> make_lock();
std::unique_ptr<Command> make_ls();
std::unique_ptr<Command> make_path();
std::unique_ptr<Command> make_pool();
std::unique_ptr<Command> make_redis();
std::unique_ptr<Command> make_refresh();
std::unique_ptr<Command> make_release();
std::unique_ptr<Command> make_run();
std::unique_ptr<Command> make_set();
std::unique_ptr<Command> make_show();
std::unique_ptr<Command> make_status();
std::unique_ptr<Command> make_stats();
std::unique_ptr<Command> make_top();
std::unique_ptr<Command> make_verify();
std::unique_ptr<Command> make_version();
std::unique_ptr<Command> make_warm();

}  // namespace cachectl::cli
