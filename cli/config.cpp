// cachectl config show|check|path|init
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <array>
#include <boost/filesystem/path.hpp>
#include <filesystem>
#include <system_error>

#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/remote_options.hpp"
#include "lock/retry.hpp"
#include "src/config/duration.hpp"
#include "src/config/files.hpp"
#include "src/config/nearest.hpp"
#include "src/config/reference.hpp"

namespace cachectl::cli {

namespace {

class Config final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("show|check|path|init", action_, "What to do", true);
    definition.positional("FILE", file_, "For check and init: the file", false);
    definition.flag("--origin", origin_, "show: also who set each value");
    definition.flag("--json", json_, "show: as a JSON object");
    definition.flag("--force", force_, "init: replace the file");
    definition.footer(
        "show   every option with its value\n"
        "check  whether the files, or FILE, are right\n"
        "path   the files that are looked for, and which were read\n"
        "init   write an example, to ./cachectl.toml or FILE");
  }

  Result<int> execute(Session& session) override {
    const bool takes_file = action_ == "check" || action_ == "init";
    if (!file_.empty() && !takes_file) {
      return fail(Errc::usage, "unexpected argument '" + escaped(file_) + "'",
                  "FILE is for check and init");
    }
    if (action_ == "show") return show(session);
    if (action_ == "check") return check(session);
    if (action_ == "path") return path(session);
    if (action_ == "init") return init(session);
    constexpr std::array<std::string_view, 4> kActions{"show", "check", "path", "init"};
    return fail(Errc::usage, "unknown action '" + escaped(action_) + "'",
                config::did_you_mean(config::nearest(action_, kActions)));
  }

 private:
  [[nodiscard]] Result<int> show(Session& session) const {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    std::string text;
    Json object;
    for (const auto& option : config::options()) {
      const auto value = settings->text_of(option);
      const auto& origin = settings->origin_of(option);
      const std::string key(option.key);
      if (json_) {
        object[key] = {{"value", value}, {"origin", origin.describe()}};
      } else if (origin_) {
        text += fmt::format("{:<18} {:<24} {}\n", key, value, origin.describe());
      } else {
        text += fmt::format("{:<18} {}\n", key, value);
      }
    }
    for (const auto& [name, ttl] : settings->strategies) {
      const auto key = "strategies." + escaped(name);
      const auto value = config::exact_duration(ttl);
      if (json_) {
        object[key] = {{"value", value}};
      } else {
        text += fmt::format("{:<18} {}\n", key, value);
      }
    }
    for (const auto& [name, entry] : settings->entries) {
      for (const auto& [option, given] : entry.given) {
        const auto key = "entries." + escaped(name) + '.' + option;
        if (json_) {
          object[key] = {{"value", given.text}, {"origin", given.origin}};
        } else {
          text += fmt::format("{:<16} {}{}\n", key, escaped(given.text),
                              origin_ ? "  " + escaped(given.origin) : "");
        }
      }
    }
    CACHECTL_TRY(session.print(json_ ? one_line(object) + "\n" : text));
    return kDone;
  }

  [[nodiscard]] Result<int> check(Session& session) const {
    if (!file_.empty()) {
      CACHECTL_TRY(config::check_file(file_, ::getenv));
      CACHECTL_TRY(session.print(escaped(file_) + ": ok\n"));
      return kDone;
    }
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    CACHECTL_TRY(redis_servers(*settings));
    for (const auto& file : settings->files) {
      CACHECTL_TRY(session.print(escaped(file) + ": ok\n"));
    }
    if (settings->files.empty()) CACHECTL_TRY(session.print("no configuration file: ok\n"));
    return kDone;
  }

  static Result<int> path(Session& session) {
    CACHECTL_ASSIGN(const auto* settings, session.settings());
    for (const auto& candidate : config::search_path(session.flags().config_file, ::getenv)) {
      bool read = false;
      for (const auto& file : settings->files) read = read || file == candidate;
      CACHECTL_TRY(
          session.print(fmt::format("{}{}\n", escaped(candidate), read ? "  (read)" : "")));
    }
    return kDone;
  }

  [[nodiscard]] Result<int> init(Session& session) const {
    const std::string target = file_.empty() ? "cachectl.toml" : file_;
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (force_ ? O_TRUNC : O_EXCL);
    const lock::Fd file(lock::retry([&] { return ::open(target.c_str(), flags, 0644); }));
    if (!file.valid()) {
      auto failure = system_error("write " + target);
      if (failure.system_error == EEXIST) failure.advice = "add --force to replace it";
      return fail(std::move(failure));
    }
    CACHECTL_TRY(lock::write_all(file.get(), lock::bytes_of(config::example_toml()), target));
    CACHECTL_TRY(session.print("wrote " + escaped(target) + "\n"));
    return kDone;
  }

  std::string action_;
  std::string file_;
  bool origin_ = false;
  bool json_ = false;
  bool force_ = false;
};

}  // namespace

std::unique_ptr<Command> make_config() { return std::make_unique<Config>(); }

}  // namespace cachectl::cli
