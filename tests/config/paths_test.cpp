#include "src/config/paths.hpp"

#include <string>

#include "tests/config/sandbox.hpp"

namespace cachectl::config {

TEST_CASE("paths: a path in a file is absolute or below the home") {
  Sandbox sandbox;
  sandbox.set("HOME", "/home/ada/");
  const auto path = [&](std::string_view text) {
    return path_in_file(text, sandbox.environment()).value_or("refused");
  };
  CHECK(path("/var/cache/c") == "/var/cache/c");
  CHECK(path("~/c") == "/home/ada/c");
  CHECK(path("~//c/") == "/home/ada/c");
  CHECK(path("") == "refused");
  CHECK(path("c") == "refused");
  CHECK(path("./c") == "refused");
  CHECK(path("~") == "refused");
  CHECK(path("~bob/c") == "refused");
  CHECK(path("$HOME/c") == "refused");
  CHECK(path(std::string_view("/a\0b", 4)) == "refused");
  sandbox.set("HOME", "ada");
  CHECK(path("~/c") == "refused");
  sandbox.unset("HOME");
  CHECK(path("~/c") == "refused");
  CHECK(path("/c") == "/c");
}

TEST_CASE("paths: a path of a flag starts at the working directory") {
  const Sandbox sandbox;
  CHECK(from_working_directory("c").value() == sandbox.path() + "/c");
  CHECK(from_working_directory("./c/.").value() == sandbox.path() + "/c");
  CHECK(from_working_directory("../c").value() == sandbox.path() + "/../c");
  CHECK(from_working_directory("/c").value() == "/c");
  CHECK_FALSE(from_working_directory(""));
}

TEST_CASE("paths: no trailing slash is left that would make the system follow a link") {
  CHECK(from_working_directory("/a/link/").value() == "/a/link");
  CHECK(from_working_directory("/a//link/./").value() == "/a/link");
  CHECK(from_working_directory("/").value() == "/");
}

TEST_CASE("paths: the XDG variable wins over the home, and a relative one does not count") {
  Sandbox sandbox;
  const auto directory = [&] {
    return xdg_directory(sandbox.environment(), "XDG_CACHE_HOME", ".cache").value_or("none");
  };
  sandbox.set("HOME", "/home/ada");
  CHECK(directory() == "/home/ada/.cache/cachectl");
  sandbox.set("XDG_CACHE_HOME", "/scratch");
  CHECK(directory() == "/scratch/cachectl");
  sandbox.set("XDG_CACHE_HOME", "scratch");
  CHECK(directory() == "/home/ada/.cache/cachectl");
  sandbox.set("XDG_CACHE_HOME", "");
  CHECK(directory() == "/home/ada/.cache/cachectl");
  sandbox.set("HOME", "");
  CHECK(directory() == "none");
}

}  // namespace cachectl::config
