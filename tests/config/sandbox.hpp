// A directory of one's own as working directory, a home below it, and an environment.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include "src/config/settings.hpp"

namespace cachectl::config {

class Sandbox {
 public:
  Sandbox() : before_(std::filesystem::current_path()) {
    std::string path = (std::filesystem::temp_directory_path() / "cachectl-config-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    path_ = std::filesystem::canonical(path).string();
    std::filesystem::current_path(path_);
    variables_["HOME"] = path_ + "/home";
  }
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;
  ~Sandbox() {
    std::error_code ignored;
    std::filesystem::current_path(before_, ignored);
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string home_file() const {
    return path_ + "/home/.config/cachectl/cachectl.toml";
  }
  [[nodiscard]] std::string system_file() const { return path_ + "/etc/cachectl.toml"; }

  /// Creates a file, with its directories; a relative name starts at the sandbox.
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file(name);
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    REQUIRE(::chmod(name.c_str(), 0644) == 0);
  }

  void set(const std::string& name, std::string value) { variables_[name] = std::move(value); }
  void unset(const std::string& name) { variables_.erase(name); }

  [[nodiscard]] Environment environment() const {
    return [this](const char* name) -> const char* {
      const auto found = variables_.find(name);
      return found == variables_.end() ? nullptr : found->second.c_str();
    };
  }

  [[nodiscard]] Result<Settings> load(const Flags& flags = {}) const {
    return config::load(flags, environment(), system_file());
  }
  /// What the user would read.
  [[nodiscard]] std::string complaint(const Flags& flags = {}) const {
    const auto settings = load(flags);
    return settings ? "no error" : settings.error().describe();
  }

 private:
  std::filesystem::path before_;
  std::string path_;
  std::map<std::string, std::string> variables_;
};

}  // namespace cachectl::config
