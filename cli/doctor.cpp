// cachectl doctor [--json]
#include "src/doctor/doctor.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/remote_options.hpp"
#include "src/config/paths.hpp"
#include "src/doctor/server.hpp"
#include "src/remote/server.hpp"

namespace cachectl::cli {

namespace {

constexpr std::string_view kConfiguration = "configuration";

class Doctor final : public Command {
 public:
  void define(Definition& definition) override {
    definition.flag("--json", json_, "As a JSON object");
    definition.footer(
        "Looks at the configuration, the root and the directories above it, the file system and\n"
        "its space, the clock, and what is in the cache. Tries locks, rename and fsync on scratch\n"
        "files below tmp/ of the root, which it removes; changes nothing else. Where Redis is\n"
        "configured: each server, its version, memory and clock, and whether its user may do what "
        "the\n"
        "cache needs. Exit status 1 when something fails; warnings are no failure.");
  }

  Result<int> execute(Session& session) override {
    doctor::Report report;
    const auto settings = look_at_configuration(session, report);
    if (settings) {
      const SystemClock clock;
      doctor::Patient patient;
      CACHECTL_ASSIGN(patient.root, config::resolve_root(*settings));
      patient.sharing = settings->shared ? store::Sharing::group : store::Sharing::owner_only;
      patient.clock = &clock;
      doctor::examine(patient, report);
      look_at_server(*settings, clock, report);
      root_ = patient.root;
    }
    CACHECTL_TRY(session.print(json_ ? as_json(report) : as_text(report)));
    return report.is_fit() ? kDone : kNo;
  }

 private:
  /// Each file by itself, so that one mistake does not hide another, and then all layers.
  /// nullopt: what is wrong keeps us from knowing which root is meant.
  static std::optional<config::Settings> look_at_configuration(Session& session,
                                                               doctor::Report& report) {
    bool right = true;
    for (const auto& file : config::search_path(session.flags().config_file, ::getenv)) {
      const auto there = config::read_if_exists(file);
      if (there && !*there) continue;
      if (const auto checked = config::check_file(file, ::getenv); !checked) {
        report.failure(kConfiguration, checked.error());
        right = false;
      }
    }
    const auto loaded = session.settings();
    if (loaded) {
      if (right) report.ok(kConfiguration, files_text((*loaded)->files));
      return **loaded;
    }
    if (right) report.failure(kConfiguration, loaded.error());
    // Without the files: a root that flag or variable name is the one that is meant.
    auto flags = session.flags();
    flags.config_file = "/dev/null";
    const auto without = config::load(flags, ::getenv, "/dev/null");
    if (!without) return std::nullopt;
    const auto layer = without->origin_of(*config::find_option("root")).layer;
    if (layer == config::Layer::flag || layer == config::Layer::environment) return *without;
    report.warning(kConfiguration, "the root is not known, so it was not looked at",
                   "mend the configuration, or name the root: --root");
    return std::nullopt;
  }

  static void look_at_server(const config::Settings& settings, const Clock& clock,
                             doctor::Report& report) {
    const auto servers = redis_servers(settings);
    if (servers && !*servers) return;
    const auto options = remote_options(settings);
    if (!options) return report.failure("server", options.error());
    const auto masters = remote::masters(*options);
    if (!masters) return report.failure("server", masters.error());
    for (const auto& master : *masters) doctor::examine_server(master, clock, report);
  }

  static std::string files_text(const std::vector<std::string>& files) {
    if (files.empty()) return "no file, and none is needed";
    std::string text;
    for (const auto& file : files) text += (text.empty() ? "" : ", ") + file;
    return text;
  }

  [[nodiscard]] static std::string as_text(const doctor::Report& report) {
    std::string text;
    for (const auto& finding : report.findings()) {
      text += fmt::format("{:<8} {:<14} {}\n", doctor::name_of(finding.level), finding.check,
                          escaped(finding.what));
      if (!finding.advice.empty()) text += fmt::format("{:24}-> {}\n", "", escaped(finding.advice));
    }
    return text;
  }

  [[nodiscard]] std::string as_json(const doctor::Report& report) const {
    Json object;
    object["version"] = 1;
    object["root"] = root_.empty() ? Json() : Json(escaped(root_));
    object["fit"] = report.is_fit();
    object["checks"] = Json::array();
    for (const auto& finding : report.findings()) {
      object["checks"].push_back({{"check", finding.check},
                                  {"level", doctor::name_of(finding.level)},
                                  {"what", escaped(finding.what)},
                                  {"advice", escaped(finding.advice)}});
    }
    return one_line(object) + "\n";
  }

  bool json_ = false;
  std::string root_;
};

}  // namespace

std::unique_ptr<Command> make_doctor() { return std::make_unique<Doctor>(); }

}  // namespace cachectl::cli
