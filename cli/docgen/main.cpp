// cachectl-docgen SHELLS DIRECTORY: writes the manual pages and completions to DIRECTORY; in SHELLS
// lie completion.bash, .fish and .zsh. A program of its own, so that the command does not get
// larger by them.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cli/docgen/completion.hpp"
#include "cli/docgen/manual.hpp"

namespace {

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::trunc);
  file.exceptions(std::ios::failbit | std::ios::badbit);
  file << text;
  file.close();
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file;
  file.exceptions(std::ios::failbit | std::ios::badbit);
  file.open(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: cachectl-docgen SHELLS DIRECTORY\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path shells(argv[1]);
    const std::filesystem::path to(argv[2]);
    const auto all = cachectl::cli::describe_all();
    write(to / "man1/cachectl.1", cachectl::cli::manual_page(all));
    for (const auto& command : all.commands) {
      write(to / ("man1/cachectl-" + command.name + ".1"),
            cachectl::cli::manual_page(all, command));
    }
    write(to / "completions/cachectl",
          read(shells / "completion.bash") + cachectl::cli::bash_completion(all));
    write(to / "completions/_cachectl",
          read(shells / "completion.zsh") + cachectl::cli::zsh_completion(all));
    write(to / "completions/cachectl.fish",
          read(shells / "completion.fish") + cachectl::cli::fish_completion(all));
    return 0;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "cachectl-docgen: %s\n", problem.what());
    return 1;
  }
}
