// Definition: what a subcommand accepts. The one place that knows CLI11.
//
// A command binds its variables to names; nothing is converted here but integers, so
// that values are checked, and complained about, by the code that understands them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/config/settings.hpp"

namespace cachectl::cli {

/// What help says, in parts: for manual pages and completion.
struct Description {
  struct Option {
    std::vector<std::string> names;  ///< "-q", "--quiet"
    std::string meta;                ///< empty: takes no value
    std::string doc;
    bool repeatable = false;
  };
  struct Positional {
    std::string meta;
    std::string doc;
    bool required = false;
    bool repeatable = false;
  };
  enum class CommandLine { none, anywhere, behind_dashes };

  std::vector<Option> options;
  std::vector<Positional> positionals;
  CommandLine command_line = CommandLine::none;
  std::string footer;
};

class Definition {
 public:
  /// `name` as the user typed it, "cachectl get".
  Definition(const std::string& name, const std::string& summary);
  Definition(Definition&&) noexcept;
  ~Definition();

  /// `names`: "--json" or "-q,--quiet". The variables must outlive the parse.
  void flag(const std::string& names, bool& target, const std::string& doc);
  void option(const std::string& names, std::string& target, const std::string& meta,
              const std::string& doc);
  /// Repeatable.
  void options(const std::string& names, std::vector<std::string>& target, const std::string& meta,
               const std::string& doc);
  /// An exit status, 0 to 255.
  void status(const std::string& names, int& target, const std::string& meta,
              const std::string& doc);
  /// A flag that sets an option of the configuration.
  void setting(const std::string& names, const std::string& key, const std::string& meta,
               const std::string& doc);
  void positional(const std::string& meta, std::string& target, const std::string& doc,
                  bool required);
  void positionals(const std::string& meta, std::vector<std::string>& target,
                   const std::string& doc, bool required);
  /// The rest of the line, from the first word that is no option, or behind "--".
  void command_line(std::vector<std::string>& target);
  /// What stands behind "--", and only there.
  void command_behind_dashes(std::vector<std::string>& target);
  void footer(const std::string& text);

  enum class Outcome { go, help };
  /// Errc::usage, with the nearest name, for what nobody defined.
  [[nodiscard]] Result<Outcome> parse(std::vector<std::string> arguments);

  [[nodiscard]] std::string help() const;
  [[nodiscard]] Description describe() const;
  [[nodiscard]] bool was_given(const std::string& name) const;
  /// The settings that were given, for config::load.
  [[nodiscard]] std::vector<config::Override> overrides() const;

 private:
  [[nodiscard]] std::vector<std::string> take_command_line(std::vector<std::string>& arguments);
  [[nodiscard]] Error unknown(const std::string& argument) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cachectl::cli
