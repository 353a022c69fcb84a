#include "cli/definition.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>

#include "src/config/nearest.hpp"

namespace cachectl::cli {

struct Definition::Impl {
  struct Setting {
    CLI::Option* option;
    std::string key;
    std::string flag;
    std::string value;
  };

  CLI::App app;
  std::string name;
  std::deque<Setting> settings;  // addresses are bound by CLI11
  std::vector<std::string>* command = nullptr;

  Impl(const std::string& title, const std::string& summary) : app(summary, title), name(title) {}
};

Definition::Definition(const std::string& name, const std::string& summary)
    : impl_(std::make_unique<Impl>(name, summary)) {
  auto& app = impl_->app;
  app.set_help_flag("-h,--help", "Show this help");
  app.get_formatter()->column_width(30);
  app.get_formatter()->label("OPTIONS", "OPTIONS");
}
Definition::Definition(Definition&&) noexcept = default;
Definition::~Definition() = default;

void Definition::flag(const std::string& names, bool& target, const std::string& doc) {
  impl_->app.add_flag(names, target, doc);
}

void Definition::option(const std::string& names, std::string& target, const std::string& meta,
                        const std::string& doc) {
  impl_->app.add_option(names, target, doc)->type_name(meta)->take_last();
}

void Definition::options(const std::string& names, std::vector<std::string>& target,
                         const std::string& meta, const std::string& doc) {
  impl_->app.add_option(names, target, doc)
      ->type_name(meta)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void Definition::status(const std::string& names, int& target, const std::string& meta,
                        const std::string& doc) {
  impl_->app.add_option(names, target, doc)
      ->check(CLI::Range(0, 255))
      ->type_name(meta)
      ->take_last();
}

void Definition::setting(const std::string& names, const std::string& key, const std::string& meta,
                         const std::string& doc) {
  auto& setting = impl_->settings.emplace_back();
  setting.key = key;
  setting.flag = names.substr(names.rfind(',') + 1);
  setting.option = impl_->app.add_option(names, setting.value, doc)->type_name(meta)->take_last();
}

void Definition::positional(const std::string& meta, std::string& target, const std::string& doc,
                            bool required) {
  impl_->app.add_option(meta, target, doc)->required(required)->type_name("");
}

void Definition::positionals(const std::string& meta, std::vector<std::string>& target,
                             const std::string& doc, bool required) {
  impl_->app.add_option(meta, target, doc)->required(required)->type_name("");
}

void Definition::command_line(std::vector<std::string>& target) { impl_->command = &target; }

void Definition::footer(const std::string& text) { impl_->app.footer("\n" + text); }

/// Cuts the command off: behind "--", or from the first word that is neither an option
/// nor the value of one.
std::vector<std::string> Definition::take_command_line(std::vector<std::string>& arguments) {
  const auto cut = [&](std::size_t from, std::size_t to) {
    const auto begin = arguments.begin();
    std::vector<std::string> rest(begin + static_cast<std::ptrdiff_t>(to), arguments.end());
    arguments.resize(from);
    return rest;
  };
  for (std::size_t index = 0; index < arguments.size(); ++index) {
    const auto& argument = arguments[index];
    if (argument == "--") return cut(index, index + 1);
    if (argument.size() < 2 || argument[0] != '-') return cut(index, index);
    const auto* option = impl_->app.get_option_no_throw(argument);
    const bool takes_value = option != nullptr && option->get_items_expected_max() > 0;
    if (takes_value) ++index;
  }
  return {};
}

Error Definition::unknown(const std::string& argument) const {
  Error error{Errc::usage, 0, "unexpected argument '" + argument + "'", {}};
  if (argument.size() > 1 && argument[0] == '-') {
    const auto given = argument.substr(0, argument.find('='));
    std::vector<std::string> names;
    for (const auto* option : impl_->app.get_options()) {
      for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    }
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    error.message = "unknown option '" + given + "'";
    error.advice = config::did_you_mean(config::nearest(given, candidates));
  }
  if (error.advice.empty()) error.advice = "see '" + impl_->name + " --help'";
  return error;
}

Result<Definition::Outcome> Definition::parse(std::vector<std::string> arguments) {
  if (impl_->command != nullptr) *impl_->command = take_command_line(arguments);
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    impl_->app.parse(std::move(arguments));
    return Outcome::go;
  } catch (const CLI::CallForHelp&) {
    return Outcome::help;
  } catch (const CLI::ExtrasError&) {
    const auto extras = impl_->app.remaining();
    return fail(unknown(extras.empty() ? std::string() : extras.front()));
  } catch (const CLI::ParseError& problem) {
    return fail(Errc::usage, problem.what(), "see '" + impl_->name + " --help'");
  }
}

std::string Definition::help() const {
  auto text = impl_->app.help();
  // CLI11 knows nothing of the command behind the options.
  if (impl_->command != nullptr) {
    const std::string tail = "[OPTIONS]";
    const auto at = text.find(tail);
    if (at != std::string::npos) text.insert(at + tail.size(), " [--] COMMAND [ARGUMENT...]");
  }
  return text;
}

bool Definition::was_given(const std::string& name) const {
  return impl_->app.get_option_no_throw(name) != nullptr && impl_->app.count(name) > 0;
}

std::vector<config::Override> Definition::overrides() const {
  std::vector<config::Override> given;
  for (const auto& setting : impl_->settings) {
    if (setting.option->count() > 0) given.push_back({setting.key, setting.value, setting.flag});
  }
  return given;
}

}  // namespace cachectl::cli
