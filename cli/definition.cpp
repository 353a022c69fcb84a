#include "cli/definition.hpp"

// CLI11 includes <iostream>, which makes a program construct the standard streams, with the
// locale and all its facets, before main: a thirtieth of a hit. It mentions two of them in default
// arguments that are not used here. So libstdc++ is told that the header is there already;
// other libraries do not know the name, and only start more slowly.
// NOLINTBEGIN(*-reserved-identifier,cert-*,cppcoreguidelines-avoid-non-const-global-variables)
#define _GLIBCXX_IOSTREAM 1
#include <istream>
#include <ostream>
namespace std {
extern ostream cout;
extern ostream cerr;
}  // namespace std
// NOLINTEND(*-reserved-identifier,cert-*,cppcoreguidelines-avoid-non-const-global-variables)

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>
#include <functional>
#include <utility>

#include "lock/number.hpp"
#include "src/config/nearest.hpp"

namespace cachectl::cli {

struct Definition::Impl {
  struct Setting {
    CLI::Option* option = nullptr;  // null until CLI11 knows it
    std::string key;
    std::string flag;
    std::string value;
  };
  /// An option that CLI11 gets to know once it is needed: setting up all of `run` takes a
  /// tenth of a hit.
  struct Declared {
    std::string names;
    std::function<void(CLI::App&)> add;

    void add_once(CLI::App& to) {
      if (const auto adder = std::exchange(add, nullptr)) adder(to);
    }
  };

  CLI::App app;
  std::string name;
  std::vector<Declared> declared;
  bool complete = false;
  std::deque<Setting> settings;  // addresses are bound by CLI11
  std::vector<std::string>* command = nullptr;
  bool command_needs_dashes = false;

  Impl(const std::string& title, const std::string& summary) : app(summary, title), name(title) {}

  void declare(const std::string& names, std::function<void(CLI::App&)> add) {
    declared.push_back({names, std::move(add)});
  }

  void add_all() {
    if (std::exchange(complete, true)) return;
    app.set_help_flag("-h,--help", "Show this help");
    app.get_formatter()->column_width(30);
    app.get_formatter()->label("OPTIONS", "OPTIONS");
    for (auto& option : declared) option.add_once(app);
  }

  /// Those that the arguments name; all, if something looks like an option and is none of
  /// our long ones.
  void add_needed(const std::vector<std::string>& arguments) {
    std::vector<bool> needed(declared.size());
    for (const auto& argument : arguments) {
      if (argument == "--") break;
      if (argument.size() < 2 || argument[0] != '-') continue;
      const auto given = argument.substr(0, argument.find('='));
      bool known = false;
      for (std::size_t i = 0; i < declared.size(); ++i) {
        const auto& names = declared[i].names;
        known = names == given || names.ends_with(',' + given);
        needed[i] = needed[i] || known;
        if (known) break;
      }
      if (!known) return add_all();
    }
    for (std::size_t i = 0; i < declared.size(); ++i) {
      if (needed[i]) declared[i].add_once(app);
    }
  }
};

Definition::Definition(const std::string& name, const std::string& summary)
    : impl_(std::make_unique<Impl>(name, summary)) {}
Definition::Definition(Definition&&) noexcept = default;
Definition::~Definition() = default;

void Definition::flag(const std::string& names, bool& target, const std::string& doc) {
  impl_->declare(names, [=, &target](CLI::App& app) { app.add_flag(names, target, doc); });
}

void Definition::option(const std::string& names, std::string& target, const std::string& meta,
                        const std::string& doc) {
  impl_->declare(names, [=, &target](CLI::App& app) {
    app.add_option(names, target, doc)->type_name(meta)->take_last();
  });
}

void Definition::options(const std::string& names, std::vector<std::string>& target,
                         const std::string& meta, const std::string& doc) {
  impl_->declare(names, [=, &target](CLI::App& app) {
    app.add_option(names, target, doc)
        ->type_name(meta)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  });
}

namespace {

/// CLI::Range would build its description with a stream, see above.
std::string exit_status_expected(const std::string& text) {
  int value = -1;
  const bool good = parse_number(text, value) && value >= 0 && value <= 255;
  return good ? "" : text + " is not a number from 0 to 255";
}

}  // namespace

void Definition::status(const std::string& names, int& target, const std::string& meta,
                        const std::string& doc) {
  impl_->declare(names, [=, &target](CLI::App& app) {
    app.add_option(names, target, doc)->check(exit_status_expected)->type_name(meta)->take_last();
  });
}

void Definition::setting(const std::string& names, const std::string& key, const std::string& meta,
                         const std::string& doc) {
  auto& setting = impl_->settings.emplace_back();
  setting.key = key;
  setting.flag = names.substr(names.rfind(',') + 1);
  impl_->declare(names, [=, &setting](CLI::App& app) {
    setting.option = app.add_option(names, setting.value, doc)->type_name(meta)->take_last();
  });
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

void Definition::command_behind_dashes(std::vector<std::string>& target) {
  impl_->command = &target;
  impl_->command_needs_dashes = true;
}

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
    if (impl_->command_needs_dashes) continue;
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
  impl_->add_needed(arguments);
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
  } catch (const CLI::RequiredError& problem) {
    // What is missing may be what a misspelt option took the place of.
    for (const auto& extra : impl_->app.remaining()) {
      if (extra.size() > 1 && extra[0] == '-') return fail(unknown(extra));
    }
    return fail(Errc::usage, problem.what(), "see '" + impl_->name + " --help'");
  } catch (const CLI::ParseError& problem) {
    return fail(Errc::usage, problem.what(), "see '" + impl_->name + " --help'");
  }
}

std::string Definition::help() const {
  impl_->add_all();
  auto text = impl_->app.help();
  // CLI11 knows nothing of the command behind the options.
  if (impl_->command != nullptr) {
    const std::string usage =
        impl_->command_needs_dashes ? " [-- COMMAND [ARGUMENT...]]" : " [--] COMMAND [ARGUMENT...]";
    const auto at = text.find("[OPTIONS]");
    const auto end = text.find('\n', at);
    if (end != std::string::npos) text.insert(end, usage);
  }
  return text;
}

Description Definition::describe() const {
  impl_->add_all();
  Description text;
  for (const auto* option : impl_->app.get_options()) {
    if (option->get_positional()) {
      text.positionals.push_back({option->get_name(true), option->get_description(),
                                  option->get_required(), option->get_items_expected_max() > 1});
      continue;
    }
    Description::Option described;
    for (const auto& name : option->get_snames()) described.names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) described.names.push_back("--" + name);
    if (option->get_items_expected_max() > 0) described.meta = option->get_type_name();
    described.doc = option->get_description();
    described.repeatable = option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    text.options.push_back(std::move(described));
  }
  if (impl_->command != nullptr) {
    text.command_line = impl_->command_needs_dashes ? Description::CommandLine::behind_dashes
                                                    : Description::CommandLine::anywhere;
  }
  text.footer = impl_->app.get_footer();
  if (text.footer.starts_with('\n')) text.footer.erase(0, 1);
  return text;
}

bool Definition::was_given(const std::string& name) const {
  return impl_->app.get_option_no_throw(name) != nullptr && impl_->app.count(name) > 0;
}

std::vector<config::Override> Definition::overrides() const {
  std::vector<config::Override> given;
  for (const auto& setting : impl_->settings) {
    if (setting.option != nullptr && setting.option->count() > 0)
      given.push_back({setting.key, setting.value, setting.flag});
  }
  return given;
}

}  // namespace cachectl::cli
