// cachectl lease list|show|renew
#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "cli/columns.hpp"
#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/wait_options.hpp"
#include "src/config/duration.hpp"
#include "src/config/nearest.hpp"

namespace cachectl::cli {

namespace {

class Lease final : public Command {
 public:
  void define(Definition& definition) override {
    definition_ = &definition;
    definition.positional("list|show|renew", action_, "What to do", true);
    definition.positional("ID", id_, "For show and renew: the lease", false);
    definition.option("--lease", duration_, "D", "renew: it ends this long from now: 30s, never");
    definition.flag("--json", json_, "list: one JSON object a lease and line; show: one object");
    definition.footer(
        "list   the leases that live; in a pipe a line each, with tabs between id, PID of the\n"
        "       owner, age and time left in seconds, mode, what it holds, and command\n"
        "show   everything known of one; exit status 1 when it has ended, or there is none\n"
        "renew  lets it expire later, or never; exit status 1 when it has ended");
  }

  Result<int> execute(Session& session) override {
    constexpr std::array<std::string_view, 3> kActions{"list", "show", "renew"};
    if (std::find(kActions.begin(), kActions.end(), action_) == kActions.end()) {
      return fail(Errc::usage, "unknown action '" + escaped(action_) + "'",
                  config::did_you_mean(config::nearest(action_, kActions)));
    }
    if (action_ == "list") {
      if (definition_->was_given("ID")) return fail(Errc::usage, "list takes no ID");
      return list(session);
    }
    if (!definition_->was_given("ID")) return fail(Errc::usage, action_ + ": ID is required");
    CACHECTL_ASSIGN(const auto id, lease::Id::parse(id_));
    return action_ == "show" ? show(session, id) : renew(session, id);
  }

 private:
  Result<int> list(Session& session) {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_ASSIGN(const auto leases, cache->leases());
    now_ = cache->clock().now();
    const bool table = !json_ && is_terminal(STDOUT_FILENO);
    std::string text;
    if (table && !leases.empty())
      text = row("ID", "PID", "AGE", "LEFT", "MODE", "HOLDS", "COMMAND");
    for (const auto& lease : leases) {
      text += json_   ? one_line(object(lease)) + "\n"
              : table ? table_line(lease)
                      : plain_line(lease);
    }
    CACHECTL_TRY(session.print(text));
    return kDone;
  }

  Result<int> show(Session& session, const lease::Id& id) {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_ASSIGN(const auto found, cache->find_lease(id));
    if (!found) return kNo;
    now_ = cache->clock().now();
    CACHECTL_TRY(session.print(json_ ? one_line(object(*found)) + "\n" : as_text(*found)));
    return found->alive ? kDone : kNo;
  }

  Result<int> renew(Session& session, const lease::Id& id) const {
    if (!definition_->was_given("--lease")) {
      return fail(Errc::usage, "renew for how long?", "add --lease D");
    }
    CACHECTL_ASSIGN(const auto duration, lease_duration(duration_));
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    const auto renewed = cache->renew(id, duration);
    if (renewed) return kDone;
    if (renewed.error().code != Errc::lease_lost) return fail(renewed.error());
    auto why = renewed.error();
    [[maybe_unused]] const int failed = session.report(std::move(why).within("lease"));
    return kNo;
  }

  static std::string row(std::string_view id, std::string_view pid, std::string_view age,
                         std::string_view left, std::string_view mode, std::string_view holds,
                         std::string_view command) {
    return fmt::format("{:<16}  {:>7}  {:>8}  {:>8}  {:<9}  {:<20}  {}\n", id, pid, age, left, mode,
                       holds, command);
  }

  static std::string mode_of(const lease::Lease& lease) {
    return lease.description.mode == lock::Mode::exclusive ? "exclusive" : "shared";
  }

  static std::string state_of(const lease::Lease& lease) {
    if (lease.alive) return "held";
    switch (lease.description.ended) {
      case lease::Ended::owner:
        return "ended with its owner";
      case lease::Ended::expired:
        return "expired";
      case lease::Ended::signal:
      case lease::Ended::no:
        break;
    }
    return "ended: its holder was killed";
  }

  [[nodiscard]] std::chrono::nanoseconds age_of(const lease::Lease& lease) const {
    return std::max(now_ - lease.description.since, std::chrono::nanoseconds(0));
  }

  [[nodiscard]] std::string table_line(const lease::Lease& lease) const {
    const auto& what = lease.description;
    return row(lease.id.text(), std::to_string(what.owner.pid), short_form(age_of(lease)),
               what.expires == kNever ? "never" : short_form(what.expires - now_), mode_of(lease),
               lease.description.holds(), escaped(what.command));
  }

  [[nodiscard]] std::string plain_line(const lease::Lease& lease) const {
    const auto seconds = [](std::chrono::nanoseconds duration) {
      return std::chrono::floor<std::chrono::seconds>(duration).count();
    };
    const auto& what = lease.description;
    const auto left =
        what.expires == kNever ? "never" : std::to_string(seconds(what.expires - now_));
    return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", lease.id.text(), what.owner.pid,
                       seconds(age_of(lease)), left, mode_of(lease), lease.description.holds(),
                       escaped(what.command));
  }

  [[nodiscard]] Json object(const lease::Lease& lease) const {
    const auto& what = lease.description;
    const auto in_seconds = [](std::chrono::nanoseconds duration) {
      return std::chrono::duration<double>(duration).count();
    };
    Json object;
    object["id"] = lease.id.text();
    object["alive"] = lease.alive;
    object["state"] = state_of(lease);
    object["key"] = nullptr;
    if (what.key) {
      object.erase("key");
      put_bytes(object, "key", *what.key);
    }
    object["mode"] = mode_of(lease);
    object["pid"] = what.owner.pid;
    put_bytes(object, "command", what.command);
    object["holder_pid"] = what.holder;
    object["since"] = iso_time(what.since);
    object["age_seconds"] = in_seconds(now_ - what.since);
    const bool never = what.expires == kNever;
    object["expires"] = never ? Json() : Json(iso_time(what.expires));
    object["left_seconds"] = never ? Json() : Json(in_seconds(what.expires - now_));
    return object;
  }

  [[nodiscard]] std::string as_text(const lease::Lease& lease) const {
    const auto& what = lease.description;
    std::string text;
    const auto line = [&](std::string_view name, const std::string& value) {
      text += fmt::format("{:<9}{}\n", name, value);
    };
    std::string expires = "never";
    if (what.expires != kNever) {
      expires = iso_time(what.expires);
      if (now_ < what.expires) {
        expires += " (in " + config::format_duration(what.expires - now_) + ")";
      }
    }
    line("lease", lease.id.text());
    line("state", state_of(lease));
    line("holds", lease.description.holds() + " (" + mode_of(lease) + ")");
    line("owner", fmt::format("pid {} ({})", what.owner.pid, escaped(what.command)));
    line("since", iso_time(what.since) + " (" + config::format_duration(age_of(lease)) + " ago)");
    line("expires", expires);
    line("holder", fmt::format("pid {}", what.holder));
    return text;
  }

  Definition* definition_ = nullptr;
  std::string action_;
  std::string id_;
  std::string duration_;
  bool json_ = false;
  WallTime now_;
};

}  // namespace

std::unique_ptr<Command> make_lease() { return std::make_unique<Lease>(); }

}  // namespace cachectl::cli
