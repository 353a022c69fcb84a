// cachectl top [--interval D] [--sort COLUMN]
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "cli/columns.hpp"
#include "cli/command.hpp"
#include "cli/counted.hpp"
#include "cli/full_screen.hpp"
#include "cli/json.hpp"
#include "cli/lock_rows.hpp"
#include "cli/paint.hpp"
#include "lock/retry.hpp"
#include "lock/signals.hpp"
#include "src/config/duration.hpp"
#include "src/config/size.hpp"

namespace cachectl::cli {

namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using telemetry::Counter;
using telemetry::Report;
using telemetry::Row;
using telemetry::Timing;

/// What was counted between two moments. All of `now` where the counters were reset between.
class Change {
 public:
  Change(const Row* before, const Row& now, double seconds) : now_(&now), seconds_(seconds) {
    if (before == nullptr) return;
    const bool was_reset =
        !std::equal(before->counters.begin(), before->counters.end(), now.counters.begin(),
                    [](std::uint64_t then, std::uint64_t since) { return then <= since; });
    if (!was_reset) before_ = before;
  }

  [[nodiscard]] double rate(std::uint64_t (*count)(const Row&)) const {
    if (seconds_ <= 0) return 0;
    const auto before = before_ == nullptr ? 0 : count(*before_);
    return static_cast<double>(count(*now_) - before) / seconds_;
  }

  /// The counters alone.
  [[nodiscard]] Row row() const {
    Row row;
    for (std::size_t each = 0; each < row.counters.size(); ++each) {
      row.counters[each] =
          now_->counters[each] - (before_ == nullptr ? 0 : before_->counters[each]);
    }
    return row;
  }

 private:
  const Row* now_;
  const Row* before_ = nullptr;
  double seconds_;
};

struct ShownRow {
  const Row* row = nullptr;
  double rate = 0;  ///< requests in a second
};

std::uint64_t failures(const Row& row) { return telemetry::sum_of(row, "failures"); }

/// What the table can be sorted by: the largest first.
struct Order {
  char key;
  std::string_view name;
  double (*value)(const ShownRow&);
};
constexpr std::array kOrders{
    Order{'r', "rate", [](const ShownRow& shown) { return shown.rate; }},
    Order{
        't', "requests",
        [](const ShownRow& shown) { return static_cast<double>(telemetry::requests(*shown.row)); }},
    Order{'h', "hits",
          [](const ShownRow& shown) { return telemetry::hit_ratio(*shown.row).value_or(-1); }},
    Order{'f', "failed",
          [](const ShownRow& shown) { return static_cast<double>(failures(*shown.row)); }},
    Order{'s', "saved",
          [](const ShownRow& shown) { return static_cast<double>(shown.row->of(Counter::saved)); }},
    Order{'w', "wait",
          [](const ShownRow& shown) {
            const auto wait = shown.row->of(Timing::lock_wait).quantile(0.95);
            return static_cast<double>(wait.count());
          }},
    Order{'n', "name", nullptr},
};

/// What is known of the cache at one moment, and how it became so.
struct Moment {
  status::Status status;
  Report report;
  steady_clock::time_point taken;
};

class Picture {
 public:
  Picture(const Moment& now, const Moment* before, FullScreen::Size size)
      : now_(now), before_(before), size_(size), total_(now.report.total()) {
    if (before != nullptr) {
      total_before_ = before->report.total();
      seconds_ = std::chrono::duration<double>(now.taken - before->taken).count();
    }
  }

  std::vector<std::string> draw(const std::string& root, const Order& order, bool reversed,
                                bool paused) {
    const auto time = iso_time(now_.status.now);
    const auto width = size_.columns - std::min(size_.columns, time.size() + 2);
    add(fmt::format("{:<{}}  {}", cut("cachectl top: " + escaped(root), width), width, time));
    add("entries  " + entries());
    add("now      " + changes());
    add("locks    " + held());
    add("");
    const auto locks = lock_lines();
    const std::size_t below = locks.size() + 1;  // the keys
    table(order, reversed, size_.rows - std::min(size_.rows, below));
    for (const auto& line : locks) lines_.push_back(line);
    // The keys stand on the last line, whatever else there is room for.
    lines_.resize(size_.rows - 1);
    add(fmt::format("by {}{}{}: r t h f s w n  - reverse  space pause  q quit", order.name,
                    reversed ? ", reversed" : "", paused ? "; paused" : ""));
    return std::move(lines_);
  }

 private:
  void add(const std::string& line) { lines_.push_back(cut(line, size_.columns)); }
  void add_heading(std::string_view line) {
    lines_.push_back(paint_.bold(cut(std::string(line), size_.columns)));
  }

  [[nodiscard]] std::string entries() const {
    const auto& status = now_.status;
    if (!status.exists) return "the cache is not there yet";
    const auto& of = status.entries;
    auto text = fmt::format("{}: {} fresh, {} stale, {} expired; {}", of.count, of.fresh, of.stale,
                            of.expired, config::format_size(of.bytes));
    if (of.damaged > 0) text += fmt::format("; {} damaged", of.damaged);
    return text;
  }

  [[nodiscard]] Change change_of(const Row& row) const {
    const Row* before = nullptr;
    if (before_ != nullptr) {
      before = row.name.empty() ? &before_->report.others : before_->report.find(row.name);
    }
    return {before, row, seconds_};
  }

  [[nodiscard]] Change change_of_total() const {
    return {before_ == nullptr ? nullptr : &total_before_, total_, seconds_};
  }

  [[nodiscard]] std::string changes() const {
    if (before_ == nullptr) return "-";
    const auto change = change_of_total();
    return fmt::format("{:.1f} requests/s, {} hits, {:.1f} sources/s, {:.1f} failures/s",
                       change.rate(telemetry::requests), hits_in_percent(change.row()),
                       change.rate([](const Row& row) { return row.of(Counter::source_runs); }),
                       change.rate(failures));
  }

  [[nodiscard]] std::string held() const {
    const auto& status = now_.status;
    std::size_t waiting = 0;
    for (const auto& lock : status.locks) waiting += lock.waiting;
    unsigned lent = 0;
    unsigned broken = 0;
    for (const auto& pool : status.pools) {
      lent += pool.number_of(pool::Condition::leased);
      broken += pool.number_of(pool::Condition::broken);
    }
    auto text = fmt::format("{} held, {} wait; {} leases; {} replicas lent", status.locks.size(),
                            waiting, status.leases.size(), lent);
    if (broken > 0) text += fmt::format(", {} broken", broken);
    if (status.daemon) {
      text += status.daemon->pid == 0 ? std::string("; a daemon")
                                      : fmt::format("; daemon {}", status.daemon->pid);
    }
    return text;
  }

  /// Up to a third of the screen.
  [[nodiscard]] std::vector<std::string> lock_lines() const {
    const auto& status = now_.status;
    const std::size_t most = size_.rows / 3;
    if (status.locks.empty() || most < 3) return {};
    std::vector<std::string> lines{"", paint_.bold(cut(std::string(kLockHeading), size_.columns))};
    for (const auto& lock : status.locks) {
      for (auto& row : lock_rows(lock, status.now, size_.columns)) {
        if (lines.size() == most) return lines;
        lines.push_back(std::move(row));
      }
    }
    return lines;
  }

  /// Up to the line number `end`.
  void table(const Order& order, bool reversed, std::size_t end) {
    std::vector<ShownRow> rows;
    for (const auto& row : now_.report.entries) rows.push_back(shown(row));
    rows.push_back(shown(now_.report.others));
    std::stable_sort(rows.begin(), rows.end(), [&](const ShownRow& one, const ShownRow& other) {
      const auto& first = reversed ? other : one;
      const auto& second = reversed ? one : other;
      if (order.value == nullptr) return first.row->name < second.row->name;
      return order.value(first) > order.value(second);
    });
    add_heading(fmt::format("{:<27} {:>8} {:>9} {:>7} {:>7} {:>8} {:>8}", "ENTRY", "REQ/S",
                            "REQUESTS", "HITS", "FAILED", "SAVED", "WAIT P95"));
    for (const auto& each : rows) {
      if (lines_.size() >= end) return;
      add(line(each, name_of_row(each.row->name, 27)));
    }
    if (lines_.size() >= end) return;
    add(line({&total_, change_of_total().rate(telemetry::requests)}, "total"));
  }

  [[nodiscard]] ShownRow shown(const Row& row) const {
    return {&row, change_of(row).rate(telemetry::requests)};
  }

  [[nodiscard]] static std::string line(const ShownRow& shown, std::string_view name) {
    const auto& row = *shown.row;
    return fmt::format("{:<27} {:>8.1f} {:>9} {:>7} {:>7} {:>8} {:>8}", name, shown.rate,
                       telemetry::requests(row), hits_in_percent(row), failures(row),
                       three_digits(as_duration(row.of(Counter::saved))),
                       three_digits(row.of(Timing::lock_wait).quantile(0.95)));
  }

  const Moment& now_;
  const Moment* before_;
  FullScreen::Size size_;
  Row total_;
  Row total_before_;
  double seconds_ = 0;
  Paint paint_;
  std::vector<std::string> lines_;
};

class Top final : public Command {
 public:
  void define(Definition& definition) override {
    definition.option("--interval", interval_, "D", "Time between two looks; 2s by default");
    definition.option("--sort", sort_, "rate|requests|hits|failed|saved|wait|name",
                      "The order of the entries");
    definition.footer(
        "What status and stats print, again and again, until q or Ctrl-C: requests per second\n"
        "are those since the last look. Keys: r, t, h, f, s, w and n sort by rate, total "
        "requests,\n"
        "hits, failures, time saved, longest waits and name; - turns the order round; space stops\n"
        "and goes on. A look that takes long is taken less often, so that it never costs more\n"
        "than a tenth of the time.");
  }

  Result<int> execute(Session& session) override {
    CACHECTL_ASSIGN(pause_, interval());
    CACHECTL_TRY(choose_order());
    CACHECTL_TRY(FullScreen::check());
    // Before the terminal is changed: whatever ends us puts it back first.
    CACHECTL_ASSIGN(const auto trap, lock::SignalTrap::create({SIGHUP, SIGINT, SIGQUIT, SIGTERM,
                                                               SIGTSTP, SIGCONT, SIGWINCH}));
    FullScreen screen;
    while (!done_) {
      if (!paused_ && steady_clock::now() >= next_) CACHECTL_TRY(look(session));
      CACHECTL_ASSIGN(const bool entered, screen.enter());
      if (entered) {
        Picture picture(now_, before_ ? &*before_ : nullptr, FullScreen::size());
        CACHECTL_ASSIGN(const Cache* cache, opened_->cache());
        CACHECTL_TRY(screen.draw(picture.draw(cache->path(), *order_, reversed_, paused_)));
      }
      CACHECTL_TRY(wait(trap, screen, entered));
    }
    return kDone;
  }

 private:
  [[nodiscard]] Result<nanoseconds> interval() const {
    auto parsed = config::parse_duration(interval_);
    if (!parsed) return fail(std::move(parsed).error().within("--interval"));
    if (*parsed >= std::chrono::milliseconds(100)) return *parsed;
    return fail(Errc::usage, "--interval: '" + escaped(interval_) + "' is too short",
                "100ms at least");
  }

  Result<void> choose_order() {
    for (const auto& order : kOrders) {
      if (order.name == sort_) order_ = &order;
    }
    if (order_ != nullptr) return {};
    return fail(Errc::usage, "--sort: '" + escaped(sort_) + "' is no column",
                "rate, requests, hits, failed, saved, wait or name");
  }

  Result<void> look(const Session& session) {
    constexpr int kShare = 10;
    Moment moment;
    const auto begin = steady_clock::now();
    // Opened each time: it may have been removed, and made anew. With a configuration that is just
    // being written there is still the last one.
    auto next = session.anew();
    if (next->cache() || !opened_) opened_ = std::move(next);
    CACHECTL_ASSIGN(const Cache* cache, opened_->cache());
    CACHECTL_ASSIGN(moment.status, status::take(*cache));
    CACHECTL_ASSIGN(auto counted, cache->counters());
    if (counted) moment.report = std::move(*counted);
    moment.taken = steady_clock::now();
    if (now_.taken != steady_clock::time_point()) before_ = std::move(now_);
    now_ = std::move(moment);
    next_ = now_.taken + std::max<nanoseconds>(pause_, kShare * (now_.taken - begin));
    return {};
  }

  /// Until the next look, or until a key or a signal changes the picture.
  Result<void> wait(const lock::SignalTrap& trap, FullScreen& screen, bool reads_keys) {
    const auto left = std::max<nanoseconds>(next_ - steady_clock::now(), nanoseconds(0));
    const auto timeout = std::chrono::ceil<std::chrono::milliseconds>(left);
    std::array watched{pollfd{trap.descriptor(), POLLIN, 0}, pollfd{STDIN_FILENO, POLLIN, 0}};
    lock::retry([&] {
      return ::poll(
          watched.data(), reads_keys ? 2 : 1,
          paused_ ? -1 : static_cast<int>(std::min<std::int64_t>(timeout.count(), 60'000)));
    });
    while (const auto caught = trap.take()) heed(caught->signal, screen);
    if (!reads_keys || watched[1].revents == 0) return {};
    CACHECTL_ASSIGN(const auto keys, FullScreen::keys());
    if (keys.empty() && (watched[1].revents & POLLIN) == 0) done_ = true;  // it hung up
    for (const char key : keys) {
      if (key == '\x1b') break;  // an arrow or the like: no key of ours
      press(key);
    }
    return {};
  }

  static void heed(int signal, FullScreen& screen) {
    if (lock::is_request_to_end(signal)) {
      screen.leave();
      lock::die_by(signal);
    }
    if (signal == SIGTSTP) {
      screen.leave();
      ::raise(SIGSTOP);
    }
  }

  void press(char key) {
    if (key == 'q') done_ = true;
    if (key == '-') reversed_ = !reversed_;
    if (key == ' ') paused_ = !paused_;
    for (const auto& order : kOrders) {
      if (order.key == key) order_ = &order;
    }
  }

  std::string interval_ = "2s";
  std::string sort_ = "rate";
  nanoseconds pause_{0};
  const Order* order_ = nullptr;
  bool reversed_ = false;
  bool paused_ = false;
  bool done_ = false;
  std::unique_ptr<Session> opened_;  // the last look's
  Moment now_;
  std::optional<Moment> before_;
  steady_clock::time_point next_;  // of the next look
};

}  // namespace

std::unique_ptr<Command> make_top() { return std::make_unique<Top>(); }

}  // namespace cachectl::cli
