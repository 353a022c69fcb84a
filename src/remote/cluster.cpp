#include "src/remote/cluster.hpp"

#include <algorithm>

#include "lock/number.hpp"
#include "src/key.hpp"

namespace cachectl::remote {

namespace {

/// CRC-16/XMODEM, bit by bit: what is hashed has 32 digits.
Slot crc16(std::string_view bytes) {
  std::uint32_t sum = 0;
  for (const char c : bytes) {
    sum ^= static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << 8U;
    for (int bit = 0; bit < 8; ++bit) {
      sum = (sum << 1U) ^ ((sum & 0x8000U) != 0 ? 0x1021U : 0U);
    }
  }
  return static_cast<Slot>(sum & 0xffffU);
}

/// Where `who` says that a server is.
std::optional<Address> placed_at(std::string_view host, long long port, const Address& who) {
  if (port <= 0 || port > 65535) return std::nullopt;
  Address address = who;
  address.port = static_cast<std::uint16_t>(port);
  if (host.empty() || host == "?") return address;
  // It ends up as an argument of getent.
  if (host.starts_with('-')) return std::nullopt;
  address.path.clear();
  address.host = host;
  return address;
}

/// "host:port"; an address of IPv6 stands without brackets.
std::optional<Address> placed_at(std::string_view text, const Address& who) {
  const auto colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon == std::string_view::npos || !parse_number(text.substr(colon + 1), port)) {
    return std::nullopt;
  }
  return placed_at(text.substr(0, colon), port, who);
}

std::optional<SlotRange> slot_range(const Reply& reply, const Address& who) {
  const auto& parts = reply.elements;
  if (parts.size() < 3 || parts[2]->elements.size() < 2) return std::nullopt;
  const auto first = parts[0]->integer;
  const auto last = parts[1]->integer;
  if (first < 0 || last < first || last >= static_cast<long long>(kSlots)) return std::nullopt;
  const auto& node = parts[2]->elements;
  auto master = placed_at(node[0]->text, node[1]->integer, who);
  if (!master) return std::nullopt;
  return SlotRange{static_cast<Slot>(first), static_cast<Slot>(last), std::move(*master)};
}

std::string_view first_word(std::string_view& text) {
  const auto word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

}  // namespace

Slot slot_of(std::string_view name) {
  if (const auto open = name.find('{'); open != std::string_view::npos) {
    const auto close = name.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) {
      name = name.substr(open + 1, close - open - 1);
    }
  }
  return crc16(name) % kSlots;
}

Result<std::vector<SlotRange>> slot_ranges(const Reply& reply, const Address& who) {
  std::vector<SlotRange> ranges;
  for (const auto& element : reply.elements) {
    auto range = slot_range(*element, who);
    if (!range) {
      return fail(Errc::unreachable, who.describe() + ": its list of slots cannot be read",
                  "check redis.cluster.seeds");
    }
    ranges.push_back(std::move(*range));
  }
  if (ranges.empty()) {
    return fail(Errc::unreachable, who.describe() + ": it knows of no server with slots",
                "check redis.cluster.seeds, and redis-cli --cluster check");
  }
  return ranges;
}

std::optional<Redirection> redirection_in(const Reply& reply, const Address& who) {
  if (!reply.is(Reply::Type::error)) return std::nullopt;
  using What = Redirection::Kind;
  std::string_view text = reply.text;
  const auto word = first_word(text);
  if (word == "TRYAGAIN") return Redirection{What::again, 0, {}};
  // A script says so in the middle of its text.
  if (reply.text.find("READONLY ") != std::string::npos) {
    return Redirection{What::read_only, 0, {}};
  }
  if (word != "MOVED" && word != "ASK") return std::nullopt;
  Slot slot = 0;
  if (!parse_number(first_word(text), slot) || slot >= kSlots) return std::nullopt;
  auto to = placed_at(text, who);
  if (!to) return std::nullopt;
  return Redirection{word == "ASK" ? What::ask : What::moved, slot, std::move(*to)};
}

Result<Address> master_in(const Reply& reply, const Address& sentinel, std::string_view name) {
  std::uint16_t port = 0;
  if (reply.elements.size() == 2 && parse_number(reply.elements[1]->text, port)) {
    if (auto master = placed_at(reply.elements[0]->text, port, sentinel)) return *master;
  }
  return fail(Errc::remote_refused,
              sentinel.describe() + ": it knows of no server '" + escaped(name) + '\'',
              "check redis.sentinel.name");
}

Options seed_options(const Options& options, const Address& seed) {
  auto own = options;
  own.server = seed;
  if (options.topology == Topology::cluster) {
    own.server.user = options.server.user;
  } else {
    own.topology = Topology::single;  // asked for the master, and is none
    own.password = options.sentinel_password;
  }
  return own;
}

Result<std::unique_ptr<Reply>> ask_for_masters(Connection& seed, const Options& options) {
  CACHECTL_ASSIGN(auto answer,
                  options.topology == Topology::cluster
                      ? seed.ask({"CLUSTER", "SLOTS"})
                      : seed.ask({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.master}));
  if (answer->is(Reply::Type::error)) return fail(seed.refused(*answer));
  return answer;
}

Result<std::vector<SlotRange>> masters_in(const Reply& reply, const Address& seed,
                                          const Options& options) {
  std::vector<SlotRange> ranges;
  if (options.topology == Topology::cluster) {
    CACHECTL_ASSIGN(ranges, slot_ranges(reply, seed));
  } else {
    CACHECTL_ASSIGN(auto master, master_in(reply, seed, options.master));
    ranges.push_back({0, 0, std::move(master)});
  }
  for (auto& range : ranges) range.master.user = options.server.user;
  return ranges;
}

}  // namespace cachectl::remote
