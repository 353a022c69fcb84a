// cachectl ls [GLOB] [--json]
#include <fmt/format.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>

#include "cli/columns.hpp"
#include "cli/command.hpp"
#include "cli/json.hpp"
#include "src/config/size.hpp"

namespace cachectl::cli {

namespace {

constexpr std::size_t kPrintAt = 64 * 1024;

class Ls final : public Command {
 public:
  void define(Definition& definition) override {
    definition.positional("GLOB", glob_, "Only keys that match, as a shell matches: 'user:*'",
                          false);
    definition.flag("--json", json_, "One JSON object a key and line");
    definition.footer(
        "Sorted by key. On a terminal a table; in a pipe a line a key, with tabs between key,\n"
        "age and time left in seconds (\"never\"; negative: expired), and size in bytes, of a\n"
        "directory the sum of its files. Keys are escaped like in C.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(const Cache* cache, session.cache());
    std::vector<Listed> rows;
    CACHECTL_TRY(cache->list([&](const Listed& row) {
      if (glob_.empty() || ::fnmatch(glob_.c_str(), row.key.c_str(), 0) == 0) rows.push_back(row);
    }));
    std::sort(rows.begin(), rows.end(),
              [](const Listed& a, const Listed& b) { return a.key < b.key; });
    now_ = cache->clock().now();
    const bool table = !json_ && is_terminal(STDOUT_FILENO);
    const std::size_t width = table ? key_width(rows) : 0;
    std::string text;
    if (table && !rows.empty()) {
      text = fmt::format("{:<{}}  {:>8}  {:>8}  {:>10}\n", "KEY", width, "AGE", "LEFT", "SIZE");
    }
    for (const auto& row : rows) {
      text += json_ ? json_line(row) : table ? table_line(row, width) : plain_line(row);
      if (text.size() < kPrintAt) continue;
      CACHECTL_TRY(session.print(text));
      text.clear();
    }
    CACHECTL_TRY(session.print(text));
    return glob_.empty() || !rows.empty() ? kDone : kNo;
  }

 private:
  /// The longest key, in what the terminal leaves for it.
  static std::size_t key_width(const std::vector<Listed>& rows) {
    const std::size_t columns = columns_of(STDOUT_FILENO);
    constexpr std::size_t kOthers = 32;
    std::size_t longest = 3;
    for (const auto& row : rows) longest = std::max(longest, escaped(row.key).size());
    return std::min(longest, columns > kOthers + 8 ? columns - kOthers : 8);
  }

  [[nodiscard]] std::string table_line(const Listed& row, std::size_t width) const {
    const auto key = cut(escaped(row.key), width);
    const auto left = row.header.expires == kNever         ? std::string("never")
                      : !store::is_fresh(row.header, now_) ? std::string("expired")
                                                           : short_form(row.header.expires - now_);
    return fmt::format("{:<{}}  {:>8}  {:>8}  {:>10}\n", key, width,
                       short_form(now_ - row.header.created), left,
                       config::format_size(row.header.value_size()));
  }

  [[nodiscard]] std::string plain_line(const Listed& row) const {
    const auto seconds = [](std::chrono::nanoseconds duration) {
      return std::chrono::floor<std::chrono::seconds>(duration).count();
    };
    const auto left = row.header.expires == kNever
                          ? std::string("never")
                          : std::to_string(seconds(row.header.expires - now_));
    return fmt::format("{}\t{}\t{}\t{}\n", escaped(row.key), seconds(now_ - row.header.created),
                       left, row.header.value_size());
  }

  [[nodiscard]] std::string json_line(const Listed& row) const {
    Json object;
    put_bytes(object, "key", row.key);
    put_header(object, row.header, now_);
    return one_line(object) + "\n";
  }

  std::string glob_;
  bool json_ = false;
  WallTime now_;
};

}  // namespace

std::unique_ptr<Command> make_ls() { return std::make_unique<Ls>(); }

}  // namespace cachectl::cli
