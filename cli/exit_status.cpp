#include "cli/exit_status.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace cachectl::cli {

namespace {

constexpr std::array<ExitStatusMeaning, 9> kMeanings{{
    {"0", "done; a hit"},
    {"1", "a plain \"no\": a miss, not held, nothing found, check failed"},
    {"2", "usage or configuration error"},
    {"124", "a deadline passed; `-E N` (`--timeout-status N`) changes it"},
    {"125",
     "cachectl itself failed: I/O, permission, unsafe directory, unknown format, lock lost; the "
     "message says which"},
    {"126", "the command was found but could not be run"},
    {"127", "the command was not found"},
    {"128+N", "the command, or cachectl, was ended by signal N"},
    {"other", "the status of the command that was run or replayed"},
}};

struct Mapping {
  Errc code;
  int status;
  std::string_view name;
};

constexpr std::array<Mapping, 18> kMappings{{
    {Errc::usage, kUsage, "wrong option, argument, key or value"},
    {Errc::config, kUsage, "wrong configuration file or environment variable"},
    {Errc::timeout, kTimeout, "the wait for a lock ended at its deadline"},
    {Errc::not_runnable, kNotRunnable, "the command could not be run"},
    {Errc::not_found, kNotFound, "the command was not found"},
    {Errc::io, kFailed, "reading or writing failed: disk full, I/O error"},
    {Errc::permission, kFailed, "the system does not allow it"},
    {Errc::refused, kFailed, "unsafe: foreign or world-writable directory, symbolic link"},
    {Errc::read_only, kFailed, "the file system is read-only"},
    {Errc::corrupt, kFailed, "data on disk was damaged while it was read"},
    {Errc::format, kFailed, "data on disk is of a version that this cachectl does not know"},
    {Errc::lease_lost, kFailed, "the lock was lost, so nothing was published"},
    {Errc::not_durable, kFailed, "published, but a power loss may undo it"},
    {Errc::unsupported, kFailed, "this build or system cannot do it"},
    {Errc::unreachable, kFailed, "a server is not there, or answers too late or nonsense"},
    {Errc::left_alone, kFailed, "a server is not asked for a while, because it was unreachable"},
    {Errc::remote_full, kFailed, "a server has no room"},
    {Errc::remote_refused, kFailed, "a server does not do what it was asked to"},
}};

}  // namespace

int exit_status_of(Errc code) {
  for (const auto& mapping : kMappings) {
    if (mapping.code == code) return mapping.status;
  }
  return kFailed;
}

std::span<const ExitStatusMeaning> exit_status_meanings() { return kMeanings; }

std::string exit_statuses_markdown() {
  std::string text =
      "# Exit statuses\n\n"
      "<!-- Generated from the table in cli/exit_status.cpp: change it there. -->\n\n"
      "One table for all subcommands. The statuses of `run` and `lock` are those of the command\n"
      "that they ran or replayed, unless cachectl itself has something to say.\n\n"
      "| status | meaning |\n| --- | --- |\n";
  for (const auto& row : kMeanings) text += fmt::format("| {} | {} |\n", row.status, row.meaning);
  text +=
      "\n## Which failure has which status\n\n"
      "| failure | status |\n| --- | --- |\n";
  for (const auto& row : kMappings) text += fmt::format("| {} | {} |\n", row.name, row.status);
  text +=
      "\n## `run`, when the cache fails but the source does not\n\n"
      "The output of the source is always passed on in full. If the value could not be stored\n"
      "(disk full, I/O error, lock lost), a line on standard error says so and the status is 125,\n"
      "unless the source itself ended with another one. So a run that was to store its result, "
      "and\n"
      "did not, never ends with 0. A cache that may only be read is announced as such and is no "
      "failure: the command\n"
      "runs uncached, and its status is returned.\n";
  return text;
}

}  // namespace cachectl::cli
