#include "cli/set_batch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "cli/exit_status.hpp"
#include "cli/json.hpp"
#include "cli/watching.hpp"
#include "src/config/duration.hpp"
#include "src/config/nearest.hpp"

namespace cachectl::cli {

namespace {

constexpr std::size_t kLongestLine = std::size_t{64} << 20U;

/// Lines of standard input, of bounded length.
class Lines {
 public:
  enum class Next { line, too_long, end };

  /// Without its newline; valid until the next call.
  Result<Next> next(std::string& line) {
    line.clear();
    bool too_long = false;
    bool any = false;
    while (true) {
      if (at_ == filled_) {
        CACHECTL_ASSIGN(filled_, lock::read_some(STDIN_FILENO, block_, "standard input"));
        at_ = 0;
        if (filled_ == 0) break;
      }
      any = true;
      const auto* begin = reinterpret_cast<const char*>(block_.data()) + at_;
      const auto* end = static_cast<const char*>(std::memchr(begin, '\n', filled_ - at_));
      const auto size = end != nullptr ? static_cast<std::size_t>(end - begin) : filled_ - at_;
      too_long = too_long || line.size() + size > kLongestLine;
      if (!too_long) line.append(begin, size);
      at_ += size;
      if (end == nullptr) continue;
      ++at_;
      break;
    }
    if (!any) return Next::end;
    return too_long ? Next::too_long : Next::line;
  }

 private:
  std::array<std::byte, 64 * 1024> block_{};
  std::size_t at_ = 0;
  std::size_t filled_ = 0;
};

/// Ours, then what get --json says besides.
constexpr std::array<std::string_view, 18> kFields{
    "key",         "key_base64",     "value",          "value_base64", "ttl",
    "hit",         "fresh",          "generation",     "created",      "age_seconds",
    "expires",     "left_seconds",   "kind",           "size",         "stderr_size",
    "exit_status", "source_seconds", "tree_generation"};

/// True: published. False: there is a fresh value, and it was to be kept.
Result<bool> set_line(Session& session, const Cache& cache, std::string_view line,
                      SetPolicy policy) {
  CACHECTL_ASSIGN(const Json object, parse_object(line));
  for (const auto& field : object.items()) {
    if (std::find(kFields.begin(), kFields.end(), field.key()) != kFields.end()) continue;
    return fail(Errc::usage, "unknown field '" + escaped(field.key()) + "'",
                config::did_you_mean(config::nearest(field.key(), kFields)));
  }
  // What get --json says of a failure that run was told to store.
  if (const auto status = object.find("exit_status");
      status != object.end() && (!status->is_number_integer() || *status != 0)) {
    return fail(Errc::usage, "exit_status is not 0", "only run stores failures");
  }
  CACHECTL_ASSIGN(auto bytes, take_bytes(object, "key"));
  if (!bytes) return fail(Errc::usage, "no key");
  CACHECTL_ASSIGN(const Key key, Key::from(std::move(*bytes)));
  CACHECTL_ASSIGN(const auto value, take_bytes(object, "value"));
  if (!value) return fail(Errc::usage, "no value for '" + key.printable() + "'");
  if (const auto ttl = object.find("ttl"); ttl != object.end()) {
    if (!ttl->is_string()) return fail(Errc::usage, "ttl is no string", "such as \"1h30m\"");
    auto parsed = config::parse_duration(ttl->get<std::string>());
    if (!parsed) return fail(std::move(parsed).error().within("ttl"));
    policy.ttl = *parsed;
  }
  Watching watching(session, cache, &key);
  policy.deadline = watching.watched(policy.deadline);
  CACHECTL_ASSIGN(const auto published, cache.set(key, lock::bytes_of(*value), policy));
  return published.has_value();
}

/// "set 3, kept 1, failed 1".
std::string summary(std::uint64_t published, std::uint64_t kept, std::uint64_t failed) {
  auto text = fmt::format("set: set {}", published);
  if (kept > 0) text += fmt::format(", kept {}", kept);
  if (failed > 0) text += fmt::format(", failed {}", failed);
  return text;
}

}  // namespace

Result<int> set_batch(Session& session, const Cache& cache, SetPolicy policy,
                      std::chrono::nanoseconds longest_wait) {
  Lines lines;
  std::string line;
  std::uint64_t number = 0;
  std::uint64_t published = 0;
  std::uint64_t kept = 0;
  std::uint64_t failed = 0;
  int status = kDone;
  while (true) {
    CACHECTL_ASSIGN(const auto next, lines.next(line));
    if (next == Lines::Next::end) break;
    ++number;
    const bool is_blank = line.find_first_not_of(" \t\r") == std::string::npos;
    if (next == Lines::Next::line && is_blank) continue;
    policy.deadline = lock::Deadline::after(longest_wait);
    auto done = next == Lines::Next::line
                    ? set_line(session, cache, line, policy)
                    : Result<bool>(fail(Errc::usage, "longer than 64 MiB", "use set KEY --file"));
    if (done) {
      ++(*done ? published : kept);
      continue;
    }
    ++failed;
    auto why = std::move(done).error().within(fmt::format("set: line {}", number));
    status = session.report(why);
  }
  if (published + kept + failed > 1) session.tell(summary(published, kept, failed));
  return status;
}

}  // namespace cachectl::cli
