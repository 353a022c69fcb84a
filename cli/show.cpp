// cachectl show KEY [--json]
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/remote_options.hpp"
#include "src/config/duration.hpp"
#include "src/config/size.hpp"

namespace cachectl::cli {

namespace {

class Show final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("KEY", key_, "The key", true);
    definition.flag("--json", json_, "As a JSON object");
    definition.footer(
        "Where a Redis server is configured, it is asked whether it has the key, unless it is\n"
        "left alone after failures. Exit status 1 when nothing is stored under the key.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const Key key, Key::from(key_));
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    CACHECTL_ASSIGN(auto found, cache->inspect(key));
    if (found.defect) session.warn(*found.defect);
    const auto on_server = cache->is_remote(key);
    if (!found.entry)
      return on_server.value_or(false) ? show_remote(session, key) : Result<int>(kNo);
    const auto verified = found.entry->verify();
    if (!verified && verified.error().code != Errc::corrupt) return fail(verified.error());
    const auto file = cache->path() + "/" + store::entry_name(key.hash()).path();
    const auto tree =
        cache->path() + "/" + store::tree_path(key.hash(), found.entry->header().tree_generation);
    const auto now = cache->clock().now();
    CACHECTL_ASSIGN(const auto failure, cache->last_failure(key));
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_ASSIGN(const auto servers, redis_servers(*settings));
    const bool shares = servers.has_value();
    auto text = json_ ? as_json(key, *found.entry, bool(verified), file, tree, now, failure,
                                shares ? &on_server : nullptr)
                      : as_text(key, *found.entry, bool(verified), file, tree, now);
    if (shares && !json_) {
      text += fmt::format("{:<14}disk{}\n", "tiers",
                          on_server ? (*on_server ? ", redis" : "") : " (redis was not asked)");
    }
    if (failure && !json_) {
      const auto& header = failure->header();
      const auto age = std::max(now - header.created, std::chrono::nanoseconds(0));
      text += fmt::format("{:<14}{} in a row, the last with status {}, {} ago\n", "failures",
                          header.failures, header.exit_status, config::format_duration(age));
    }
    CACHECTL_TRY(session.print(text));
    return kDone;
  }

 private:
  Result<int> show_remote(Session& session, const Key& key) const {
    if (json_) {
      Json object;
      put_bytes(object, "key", key.bytes());
      object["tiers"] = {"redis"};
      CACHECTL_TRY(session.print(one_line(object) + "\n"));
    } else {
      CACHECTL_TRY(
          session.print(fmt::format("{:<14}{}\n{:<14}redis\n", "key", key.printable(), "tiers")));
    }
    return kDone;
  }

  static std::string as_json(const Key& key, const store::Entry& entry, bool intact,
                             const std::string& file, const std::string& tree, WallTime now,
                             const std::optional<store::Entry>& failure,
                             const std::optional<bool>* on_server) {
    Json object;
    put_bytes(object, "key", key.bytes());
    object["intact"] = intact;
    put_header(object, entry.header(), now);
    object["last_used"] = iso_time(entry.last_used());
    object["file"] = file;
    object["failures"] = failure ? failure->header().failures : 0;
    if (failure) {
      object["last_failure"] = {{"status", failure->header().exit_status},
                                {"at", iso_time(failure->header().created)}};
    }
    if (entry.header().kind == store::Kind::tree) object["path"] = tree;
    if (on_server != nullptr) {
      object["tiers"] = {"disk"};
      if (on_server->value_or(false)) object["tiers"].push_back("redis");
    }
    return one_line(object) + "\n";
  }

  static std::string as_text(const Key& key, const store::Entry& entry, bool intact,
                             const std::string& file, const std::string& tree, WallTime now) {
    const auto& header = entry.header();
    const bool never = header.expires == kNever;
    const auto age =
        config::format_duration(std::max(now - header.created, std::chrono::nanoseconds(0)));
    std::string expires = never ? "never" : iso_time(header.expires);
    if (!never && now < header.expires) {
      expires += " (in " + config::format_duration(header.expires - now) + ")";
    } else if (!never) {
      expires += " (" + config::format_duration(now - header.expires) + " ago)";
    }
    std::string text;
    const auto line = [&](std::string_view name, const std::string& value) {
      text += fmt::format("{:<14}{}\n", name, value);
    };
    line("key", key.printable());
    line("state", !intact                        ? "damaged: counts as a miss"
                  : store::is_fresh(header, now) ? "fresh"
                  : store::is_stale(header, now) ? "stale"
                                                 : "expired");
    line("generation", std::to_string(header.generation));
    line("created", iso_time(header.created) + " (" + age + " ago)");
    line("expires", expires);
    const auto window = [&](std::string_view name, std::chrono::nanoseconds length) {
      if (length.count() == 0) return;
      line(name, length == config::never
                     ? "for ever"
                     : "for " + config::format_duration(length) + " after that");
    };
    window("served stale", header.stale_while_revalidate);
    window("if error", header.stale_if_error);
    line("last used", iso_time(entry.last_used()));
    line("kind", header.kind == store::Kind::tree ? "tree" : "bytes");
    if (header.kind == store::Kind::tree) {
      line("path", escaped(tree));
    }
    line("size", config::format_size(header.value_size()));
    line("stderr size", config::format_size(header.error_size));
    line("exit status", std::to_string(header.exit_status));
    line("source took", header.source_duration.count() == 0
                            ? "(set directly)"
                            : config::format_duration(header.source_duration));
    line("file", escaped(file));
    return text;
  }

  std::string key_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_show() { return std::make_unique<Show>(); }

}  // namespace cachectl::cli
