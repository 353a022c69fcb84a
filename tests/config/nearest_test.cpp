#include "src/config/nearest.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <string>

namespace cachectl::config {

namespace {
constexpr std::array<std::string_view, 7> commands{"run",  "get", "set",      "delete",
                                                   "lock", "gc",  "--timeout"};
}

TEST_CASE("nearest: a letter more, less, wrong or two swapped still finds the word") {
  CHECK(nearest("delte", commands) == "delete");
  CHECK(nearest("deletee", commands) == "delete");
  CHECK(nearest("delate", commands) == "delete");
  CHECK(nearest("dleete", commands) == "delete");
  CHECK(nearest("rnu", commands) == "run");
  CHECK(nearest("--timout", commands) == "--timeout");
  CHECK(nearest("run", commands) == "run");
}

TEST_CASE("nearest: a far-fetched guess is not made") {
  CHECK_FALSE(nearest("", commands));
  CHECK_FALSE(nearest("frobnicate", commands));
  CHECK_FALSE(nearest("xyz", commands));
  CHECK_FALSE(nearest("delete", {}));
}

TEST_CASE("nearest: of equals the first candidate wins") {
  CHECK(nearest("xet", commands) == "get");
}

TEST_CASE("nearest: an overlong word has no neighbour and costs nothing") {
  const std::string longest(64, 'x');
  const std::string longer(65, 'x');
  const std::array<std::string_view, 2> candidates{longer, longest};
  CHECK(nearest(longest, candidates) == longest);
  CHECK_FALSE(nearest(longer, candidates));
  CHECK_FALSE(nearest(std::string(1 << 20, 'x'), candidates));
}

TEST_CASE("nearest: the advice is a question, and empty without a guess") {
  CHECK(did_you_mean("run") == "did you mean 'run'?");
  CHECK(did_you_mean(std::nullopt).empty());
}

}  // namespace cachectl::config
