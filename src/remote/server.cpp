#include "src/remote/server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "lock/number.hpp"
#include "src/key.hpp"
#include "src/remote/cluster.hpp"

namespace cachectl::remote {

namespace {

constexpr std::size_t kPerScan = 1000;
constexpr std::size_t kHashDigits = 32;

/// The text of an answer that must be one of this type.
Result<std::string> text_of(const Connection& server, Result<std::unique_ptr<Reply>> reply,
                            Reply::Type type) {
  if (!reply) return fail(std::move(reply).error());
  if (!(*reply)->is(type)) return fail(server.refused(**reply));
  return std::move((*reply)->text);
}

/// "name:value" in what INFO says.
std::string field(std::string_view info, std::string_view name) {
  const auto start = info.find('\n' + std::string(name) + ':');
  if (start == std::string_view::npos) return {};
  const auto value = info.substr(start + name.size() + 2);
  return std::string(value.substr(0, value.find_first_of("\r\n")));
}

std::uint64_t number_in(std::string_view info, std::string_view name) {
  std::uint64_t number = 0;
  return parse_number(field(info, name), number) ? number : 0;
}

/// How SCAN is told to take the prefix as it is.
std::string pattern_of(const std::string& prefix) {
  std::string pattern;
  for (const char each : prefix) {
    if (std::string_view("*?[]^-\\").find(each) != std::string_view::npos) pattern += '\\';
    pattern += each;
  }
  return pattern + "{*";
}

enum class Belongs {
  no,
  record,  ///< the name of a record
  beside,  ///< of what is beside one: chunks, leases
};

/// See frame.hpp.
Belongs belongs(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return Belongs::no;
  name.remove_prefix(prefix.size());
  KeyHash hash;
  if (name.size() < kHashDigits + 2 || name[0] != '{' || name[kHashDigits + 1] != '}' ||
      !KeyHash::parse(name.substr(1, kHashDigits), hash)) {
    return Belongs::no;
  }
  name.remove_prefix(kHashDigits + 2);
  if (name.empty()) return Belongs::record;
  return name.starts_with(':') ? Belongs::beside : Belongs::no;
}

using Visit = std::function<Result<void>(const std::vector<std::string>& names)>;

/// Visits names that begin as ours do, some at a time, until it has been through all.
Result<void> scan(Connection& server, const std::string& prefix, const Visit& visit) {
  const auto pattern = pattern_of(prefix);
  const auto count = std::to_string(kPerScan);
  std::string cursor = "0";
  do {
    CACHECTL_ASSIGN(const auto reply,
                    server.ask({"SCAN", cursor, "MATCH", pattern, "COUNT", count}));
    if (!reply->is(Reply::Type::array) || reply->elements.size() != 2 ||
        !reply->elements[1]->is(Reply::Type::array)) {
      return fail(server.refused(*reply));
    }
    std::vector<std::string> names;
    for (const auto& name : reply->elements[1]->elements) {
      if (belongs(name->text, prefix) != Belongs::no) names.push_back(name->text);
    }
    if (!names.empty()) CACHECTL_TRY(visit(names));
    cursor = reply->elements[0]->text;
  } while (cursor != "0");
  return {};
}

/// One command for each name; `take` gets the numbers that they answer. A name of another type
/// than ours counts as 0.
Result<void> for_each(Connection& server, std::string_view command,
                      const std::vector<std::string>& names,
                      const std::function<void(const std::string& name, std::uint64_t)>& take) {
  Commands commands;
  for (const auto& name : names) commands.add({command, name});
  return server.exchange(commands, [&](std::size_t index, Reply& reply) -> Result<void> {
    const bool is_other = reply.is(Reply::Type::error) && reply.text.starts_with("WRONGTYPE");
    if (!reply.is(Reply::Type::integer) && !is_other) return fail(server.refused(reply));
    take(names[index], is_other ? 0 : static_cast<std::uint64_t>(reply.integer));
    return {};
  });
}

/// What one seed knows.
Result<std::vector<Address>> masters_by(const Options& options, const Address& seed) {
  auto own = seed_options(options, seed);
  own.topology = Topology::single;
  Connection connection(own);
  CACHECTL_ASSIGN(const auto answer, ask_for_masters(connection, options));
  CACHECTL_ASSIGN(const auto ranges, masters_in(*answer, own.server, options));
  std::vector<Address> found;
  for (const auto& range : ranges) {
    if (std::find(found.begin(), found.end(), range.master) == found.end()) {
      found.push_back(range.master);
    }
  }
  return found;
}

}  // namespace

Result<std::vector<Options>> masters(const Options& options) {
  if (options.topology == Topology::single) return std::vector{options};
  Result<std::vector<Address>> found;
  for (const auto& seed : options.seeds) {
    found = masters_by(options, seed);
    if (found) break;
  }
  if (!found) return fail(std::move(found).error());
  std::vector<Options> all;
  for (auto& address : *found) {
    auto& own = all.emplace_back(options);
    own.topology = Topology::single;
    own.server = std::move(address);
  }
  return all;
}

bool ServerFacts::is_at_least(unsigned major, unsigned minor) const {
  const auto dot = version.find('.');
  unsigned first = 0;
  unsigned second = 0;
  if (dot == std::string::npos || !parse_number(std::string_view(version).substr(0, dot), first)) {
    return false;
  }
  const auto rest = std::string_view(version).substr(dot + 1);
  if (!parse_number(rest.substr(0, rest.find('.')), second)) return false;
  return first > major || (first == major && second >= minor);
}

Result<ServerFacts> facts_of(Connection& server) {
  CACHECTL_ASSIGN(const auto info, text_of(server, server.ask({"INFO"}), Reply::Type::string));
  return ServerFacts{field(info, "redis_version"), field(info, "role"),
                     number_in(info, "used_memory"), number_in(info, "maxmemory"),
                     field(info, "maxmemory_policy")};
}

Result<std::chrono::nanoseconds> round_trip(Connection& server) {
  CACHECTL_TRY(server.connect());
  const auto start = std::chrono::steady_clock::now();
  CACHECTL_TRY(text_of(server, server.ask({"PING"}), Reply::Type::status));
  return std::chrono::steady_clock::now() - start;
}

Result<std::chrono::nanoseconds> clock_ahead(Connection& server, const Clock& clock) {
  CACHECTL_TRY(server.connect());
  const auto before = clock.now();
  CACHECTL_ASSIGN(const auto reply, server.ask({"TIME"}));
  const auto after = clock.now();
  std::int64_t seconds = 0;
  std::int64_t micros = 0;
  if (reply->elements.size() != 2 || !parse_number(reply->elements[0]->text, seconds) ||
      !parse_number(reply->elements[1]->text, micros)) {
    return fail(server.refused(*reply));
  }
  const WallTime theirs(std::chrono::seconds(seconds) + std::chrono::microseconds(micros));
  return theirs - (before + (after - before) / 2);
}

Result<Holdings> holdings(Connection& server, const std::string& prefix) {
  Holdings found;
  CACHECTL_TRY(scan(server, prefix, [&](const std::vector<std::string>& names) {
    return for_each(server, "STRLEN", names, [&](const std::string& name, std::uint64_t size) {
      if (belongs(name, prefix) == Belongs::record) ++found.records;
      found.bytes += size;
    });
  }));
  return found;
}

Result<std::uint64_t> flush(Connection& server, const std::string& prefix) {
  std::uint64_t removed = 0;
  CACHECTL_TRY(scan(server, prefix, [&](const std::vector<std::string>& names) {
    return for_each(server, "UNLINK", names, [&](const std::string& name, std::uint64_t gone) {
      if (belongs(name, prefix) == Belongs::record) removed += gone;
    });
  }));
  return removed;
}

Result<std::string> refused_commands(Connection& server, const std::string& prefix) {
  const auto name = prefix + "{doctor}";
  const auto list = name + ":list";
  // Each as the tier says it, or as harmless as it can be said.
  const std::vector<std::vector<std::string_view>> tried{
      {"SET", name, "x", "PX", "10000"},
      {"GET", name},
      {"GETRANGE", name, "0", "0"},
      {"EXISTS", name},
      {"PTTL", name},
      {"PEXPIRE", name, "10000"},
      {"PERSIST", name},
      {"EVAL", "return 1", "1", name},
      {"EVALSHA", "0000000000000000000000000000000000000000", "1", name},
      {"RPUSH", list, "x"},
      {"BLMOVE", list, list, "LEFT", "LEFT", "0.001"},
      {"ROLE"},
      {"UNLINK", name, list}};
  Commands commands;
  for (const auto& command : tried) commands.add(command);
  std::string refused;
  CACHECTL_TRY(server.exchange(commands, [&](std::size_t index, Reply& reply) -> Result<void> {
    // A name that the user may not use is refused in the same way.
    if (!reply.is(Reply::Type::error) || !reply.text.starts_with("NOPERM")) return {};
    refused += (refused.empty() ? "" : " ") + std::string(tried[index].front());
    return {};
  }));
  return refused;
}

}  // namespace cachectl::remote
