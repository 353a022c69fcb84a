#include "src/doctor/server.hpp"

#include <fmt/format.h>

#include "src/config/duration.hpp"
#include "src/config/size.hpp"
#include "src/remote/server.hpp"

namespace cachectl::doctor {

namespace {

constexpr std::string_view kServer = "server";
/// What is made by a clock that is ahead by more is not served: store::is_from_future.
constexpr std::chrono::seconds kAhead{5};
constexpr std::chrono::seconds kNoticed{1};

void check_memory(const remote::ServerFacts& facts, Report& report) {
  const auto used = config::format_size(facts.memory);
  if (facts.max_memory == 0) {
    return report.warning(kServer, "its memory has no limit; " + used + " are in use",
                          "set maxmemory, and maxmemory-policy allkeys-lru");
  }
  const auto limit = fmt::format("{} of {} are in use; maxmemory-policy {}", used,
                                 config::format_size(facts.max_memory), facts.policy);
  if (facts.policy == "noeviction") {
    return report.warning(kServer, limit + ": when it is full, it takes no more values",
                          "set maxmemory-policy allkeys-lru");
  }
  report.ok(kServer, limit);
}

void check_rights(remote::Connection& server, const std::string& prefix, Report& report) {
  const auto refused = remote::refused_commands(server, prefix);
  if (!refused) return report.failure(kServer, refused.error());
  if (!refused->empty()) {
    return report.failure(kServer, "its user may not use, on names under the prefix: " + *refused,
                          "give it the rights that docs/fleet.md lists");
  }
  report.ok(kServer, "its user may use all commands that the cache needs");
}

void check_their_clock(remote::Connection& server, const Clock& clock, Report& report) {
  const auto ahead = remote::clock_ahead(server, clock);
  if (!ahead) {
    return report.warning(kServer, "the clocks were not compared: " + ahead.error().message,
                          "give the user +time");
  }
  const auto apart = *ahead < ahead->zero() ? -*ahead : *ahead;
  if (apart <= kNoticed) return report.ok(kServer, "its clock agrees with that of this machine");
  const auto text =
      fmt::format("its clock is {} {} that of this machine",
                  config::format_duration(std::chrono::floor<std::chrono::milliseconds>(apart)),
                  *ahead > ahead->zero() ? "ahead of" : "behind");
  // The server's own clock decides nothing, but those of the machines do, and one of them is off.
  report.warning(kServer, text,
                 apart > kAhead ? "run NTP on all machines: values that seem to come from the "
                                  "future are not served"
                                : "run NTP on all machines");
}

}  // namespace

void examine_server(const remote::Options& options, const Clock& clock, Report& report) {
  remote::Connection server(options);
  const auto took = remote::round_trip(server);
  if (!took) return report.failure(kServer, took.error());
  report.ok(
      kServer,
      fmt::format("{} answers in {}", server.server(),
                  config::format_duration(std::chrono::floor<std::chrono::microseconds>(*took))));
  const auto facts = remote::facts_of(server);
  if (!facts) {
    report.warning(kServer, "its version and memory are not known: " + facts.error().message,
                   "give the user +info");
  } else {
    if (facts->is_at_least(6, 2)) {
      report.ok(kServer, "Redis " + facts->version);
    } else {
      report.failure(kServer, "Redis " + facts->version + " is too old", "install 6.2 or later");
    }
    if (facts->role != "master") {
      report.failure(kServer, "it is a replica (" + facts->role + "), which takes no values",
                     "name the primary server in redis.url");
    }
    check_memory(*facts, report);
  }
  check_rights(server, options.prefix, report);
  check_their_clock(server, clock, report);
}

}  // namespace cachectl::doctor
