#include "src/config/quoted.hpp"

#include <catch2/catch.hpp>
#include <string>

namespace cachectl::config {

TEST_CASE("quoted: control characters cannot reach the terminal or break the line") {
  CHECK(in_quotes("a\nb\x1b[31m\x7f") == "'a\\x0ab\\x1b[31m\\x7f'");
  CHECK(in_quotes(std::string_view("\0", 1)) == "'\\x00'");
  CHECK(in_quotes("gr\xc3\xbc\xc3\x9f") == "'gr\xc3\xbc\xc3\x9f'");
}

TEST_CASE("quoted: a long text is cut, a path is not") {
  const std::string text(81, 'x');
  CHECK(in_quotes(text) == '\'' + std::string(80, 'x') + "...'");
  CHECK(in_quotes(text.substr(1)) == '\'' + std::string(80, 'x') + '\'');
  CHECK(printable(text) == text);
}

}  // namespace cachectl::config
