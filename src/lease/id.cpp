#include "src/lease/id.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <cstdint>

#include "src/key.hpp"

namespace cachectl::lease {

Result<Id> Id::fresh() {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) {
    return fail(system_error("draw a random number"));
  }
  return Id(fmt::format("{:016x}", random));
}

Result<Id> Id::parse(std::string_view text) {
  const bool hexadecimal = text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (text.size() == 16 && hexadecimal) return Id(std::string(text));
  constexpr std::size_t kShown = 40;
  return fail(Errc::usage,
              fmt::format("'{}{}' is no lease", escaped(text.substr(0, kShown)),
                          text.size() > kShown ? "…" : ""),
              "give the 16 digits that 'cachectl acquire' printed");
}

}  // namespace cachectl::lease
