#include "src/config/paths.hpp"

#include <cstddef>
#include <filesystem>
#include <system_error>

#include "src/config/quoted.hpp"

namespace cachectl::config {

namespace {

/// Drops empty and "." components. A trailing one matters: open(2) with O_NOFOLLOW
/// follows a symbolic link that is written "link/" or "link/.". ".." stays, because
/// only the kernel knows what is above a link.
std::string tidy(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    result += '/';
    result += part;
  }
  return result.empty() ? "/" : result;
}

Result<void> check(std::string_view text) {
  if (text.empty()) return fail(Errc::usage, "the path is empty");
  if (text.find('\0') != std::string_view::npos) {
    return fail(Errc::usage, in_quotes(text) + " is not a path: it holds a NUL byte");
  }
  return {};
}

}  // namespace

std::optional<std::string> xdg_directory(const Environment& environment, const char* variable_name,
                                         std::string_view below_home) {
  const std::string_view base = variable(environment, variable_name);
  if (base.starts_with('/')) return tidy(std::string(base) + "/cachectl");
  const std::string_view home = variable(environment, "HOME");
  if (!home.starts_with('/')) return std::nullopt;
  return tidy(std::string(home) + '/' + std::string(below_home) + "/cachectl");
}

Result<std::string> path_in_file(std::string_view text, const Environment& environment) {
  CACHECTL_TRY(check(text));
  if (text.starts_with('/')) return tidy(text);
  if (!text.starts_with("~/")) {
    return fail(Errc::usage, in_quotes(text) + " is not absolute", "write /... or ~/...");
  }
  const std::string_view home = variable(environment, "HOME");
  if (!home.starts_with('/')) {
    return fail(Errc::usage, in_quotes(text) + " has no meaning: HOME is not set to a directory",
                "set HOME or write an absolute path");
  }
  return tidy(std::string(home) + std::string(text.substr(1)));
}

Result<std::string> from_working_directory(std::string_view text) {
  CACHECTL_TRY(check(text));
  if (text.starts_with('/')) return tidy(text);
  std::error_code error;
  const auto directory = std::filesystem::current_path(error);
  if (error) return fail(system_error("working directory", error.value()).within(in_quotes(text)));
  return tidy(directory.string() + '/' + std::string(text));
}

}  // namespace cachectl::config
