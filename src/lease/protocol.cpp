#include "src/lease/protocol.hpp"

#include "lock/number.hpp"

namespace cachectl::lease {

namespace {

constexpr std::string_view kRenew = "renew ";

}  // namespace

std::string Request::encode() const {
  switch (kind) {
    case Kind::descriptor:
      return "descriptor";
    case Kind::release:
      return "release";
    case Kind::renew:
      break;
  }
  return std::string(kRenew) + std::to_string(duration.count());
}

std::optional<Request> Request::decode(std::string_view text) {
  if (text == "descriptor") return Request{Kind::descriptor, {}};
  if (text == "release") return Request{Kind::release, {}};
  if (!text.starts_with(kRenew)) return std::nullopt;
  text.remove_prefix(kRenew.size());
  std::int64_t count = 0;
  if (!parse_number(text, count) || count <= 0) return std::nullopt;
  return Request{Kind::renew, std::chrono::nanoseconds(count)};
}

std::string encode_locks(const lock::OuterLocks& locks) {
  auto numbered = locks;
  int place = 0;
  for (auto& lock : numbered) lock.descriptor = place++;
  return std::string(kOk) + " " + lock::encode(numbered);
}

std::optional<lock::OuterLocks> decode_locks(const lock::Message& answer) {
  const std::string_view text = answer.text;
  if (!text.starts_with("ok ")) return std::nullopt;
  auto locks = lock::decode_outer_locks(text.substr(3));
  if (!locks || locks->empty()) return std::nullopt;
  for (auto& lock : *locks) {
    const auto place = static_cast<std::size_t>(lock.descriptor);
    if (place >= answer.descriptors.size()) return std::nullopt;
    lock.descriptor = answer.descriptors[place].get();
  }
  return std::move(*locks);
}

}  // namespace cachectl::lease
