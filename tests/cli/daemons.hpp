// A `cachectl daemon` that runs in a sandbox, with a service manager that listens to it.
#pragma once

#include <string>
#include <vector>

#include "tests/cli/support.hpp"
#include "tests/support/notify_socket.hpp"

namespace cachectl::test {

class Service {
 public:
  /// Writes the configuration of the sandbox and starts the daemon with it.
  Service(const Sandbox& sandbox, const std::string& configuration,
          std::vector<std::string> environment = {}, std::vector<std::string> arguments = {});

  [[nodiscard]] const NotifySocket& manager() const { return manager_; }
  Running& process() { return process_; }

  [[nodiscard]] bool is_ready(std::chrono::milliseconds patience = kPatience) const {
    return manager_.hears("READY=1", patience);
  }
  /// Waits until it has logged this.
  [[nodiscard]] bool says(const std::string& text) const;
  void reload_with(const std::string& configuration) const;
  /// SIGTERM; how it ended.
  Outcome stop();

 private:
  static Program program(const Sandbox& sandbox, std::vector<std::string> environment,
                         std::vector<std::string> arguments);
  const Sandbox* sandbox_;
  NotifySocket manager_;
  Running process_;
};

/// "[entries.NAME]", warm, with a script for sh as its source.
[[nodiscard]] std::string warm_entry(const std::string& name, const std::string& script,
                                     const std::string& more = {});

/// What is stored under a key and fresh; not asked by its configuration, which would make it.
[[nodiscard]] std::string value_of(const Sandbox& sandbox, const std::string& key);
/// Waits until it is this.
[[nodiscard]] bool becomes(const Sandbox& sandbox, const std::string& key,
                           const std::string& value);

/// Whether a process is there and no zombie.
[[nodiscard]] bool lives(pid_t pid);
/// The children of a process; `all`: with those that nobody has reaped.
enum class Which { all, zombies };
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid, Which which);

}  // namespace cachectl::test
