#include <array>

#include "cli/command.hpp"

namespace cachectl::cli {

namespace {

constexpr auto kCommands = std::to_array<CommandEntry>({
    {"run", "Run a command, or replay what it said before", make_run},
    {"get", "Print the value of a key", make_get},
    {"set", "Store a value under a key", make_set},
    {"delete", "Remove keys", make_delete},
    {"ls", "List the keys", make_ls},
    {"show", "Show everything known of a key", make_show},
    {"path", "Print the path of a value that is a file or directory", make_path},
    {"refresh", "Make the values of configured keys anew", make_refresh},
    {"warm", "Make the values of configured keys that are not fresh", make_warm},
    {"pool", "Lend private, writable copies of a value", make_pool},
    {"verify", "Compare values with their checksums", make_verify},
    {"lock", "Run a command under the writer lock", make_lock},
    {"acquire", "Take the writer lock for a shell, until it releases it or ends", make_acquire},
    {"release", "Give back what acquire took", make_release},
    {"lease", "List, show or renew what acquire took", make_lease},
    {"gc", "Remove what has expired or was left behind", make_gc},
    {"stats", "Show hits, failures and waits, counted by all processes", make_stats},
    {"daemon", "Keep the values of warm entries fresh", make_daemon},
    {"status", "Show what is cached, who holds which lock, and who waits", make_status},
    {"top", "Show the same and the counters, live", make_top},
    {"redis", "Ask the Redis server how it is, or remove what is kept there", make_redis},
    {"doctor", "Check that directory, file system and configuration are fit for a cache",
     make_doctor},
    {"config", "Show, check or make the configuration", make_config},
    {"version", "Print the version", make_version},
    {"help", "Show the help of a command", make_help},
});

}  // namespace

std::span<const CommandEntry> commands() { return kCommands; }

const CommandEntry* find_command(std::string_view name) {
  for (const auto& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

}  // namespace cachectl::cli
