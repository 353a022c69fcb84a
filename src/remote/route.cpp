#include "src/remote/route.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "src/config/duration.hpp"
#include "src/remote/jitter.hpp"

namespace cachectl::remote {

namespace {

constexpr std::chrono::milliseconds kLearnAgain{100};
constexpr std::chrono::milliseconds kFirstTryAgain{5};

/// The longest that a trial takes where little goes over; a longer one is no harm.
std::chrono::nanoseconds trial_of(const Options& options) {
  return 2 * (options.connect_timeout + options.read_timeout + options.write_timeout) +
         std::chrono::seconds(1);
}

std::chrono::nanoseconds time_left(const lock::Deadline& until) {
  return std::max<std::chrono::nanoseconds>(until.at() - lock::Deadline::Clock::now(), {});
}

/// Some seed first, and not all machines the same.
std::size_t random_below(std::size_t count) {
  return static_cast<std::size_t>(jittered(std::chrono::seconds(2)).count()) % count;
}

}  // namespace

Route::Server::Server(Options given, const lock::Directory& root, mode_t file_mode)
    : options(std::move(given)),
      pool(options),
      breaker(root, file_mode, trial_of(options), options.server.describe()) {}

Route::Route(Options options, const lock::Directory& root, mode_t file_mode, Tell tell)
    : options_(std::move(options)), root_(&root), file_mode_(file_mode), tell_(std::move(tell)) {
  if (options_.topology == Topology::single) {
    seeds_.push_back(add(options_));
    return;
  }
  for (const auto& seed : options_.seeds) seeds_.push_back(add(seed_options(options_, seed)));
}

lock::Deadline Route::search() const {
  return lock::Deadline::after(options_.connect_timeout + options_.read_timeout);
}

Slot Route::slot_for(std::string_view name) const {
  return options_.topology == Topology::cluster ? slot_of(name) : Slot{0};
}

/// Under the mutex.
Route::Server* Route::server_at(const Address& address) {
  for (const auto& known : servers_) {
    const auto& own = known->options;
    if (own.topology == options_.topology && own.server == address) return known.get();
  }
  auto own = options_;
  own.server = address;
  return add(std::move(own));
}

Route::Server* Route::add(Options options) {
  servers_.push_back(std::make_unique<Server>(std::move(options), *root_, file_mode_));
  return servers_.back().get();
}

void Route::suspect() {
  const std::lock_guard guard(mutex_);
  is_stale_ = true;
}

Result<Route::Server*> Route::find(std::string_view name, const lock::Deadline& search) {
  if (options_.topology == Topology::single) return seeds_.front();
  std::unique_lock guard(mutex_);
  const bool is_known = !map_.empty();
  if (!is_known || (is_stale_ && Clock::now() >= next_learning_)) {
    guard.unlock();
    auto done = learn(search);
    if (!done && !is_known) return fail(std::move(done).error());
    guard.lock();
  }
  auto* const found = map_.empty() ? nullptr : map_[slot_for(name)];
  if (found != nullptr) return found;
  return fail(
      Errc::unreachable,
      fmt::format("{}: no server has this key's slot now", options_.seeds.front().describe()),
      "redis-cli --cluster check tells more");
}

Route::Server* Route::successor(const Server& failed, std::string_view name,
                                const lock::Deadline& search) {
  if (options_.topology == Topology::single || search.passed()) return nullptr;
  suspect();
  const auto found = find(name, search);
  return found && *found != &failed && !search.passed() ? *found : nullptr;
}

/// One thread asks, and those that come meanwhile have what it learns.
Result<void> Route::learn(const lock::Deadline& search) {
  std::unique_lock guard(mutex_);
  if (is_learning_) {
    static_cast<void>(learned_.wait_until(guard, search.at(), [&] { return !is_learning_; }));
    if (!map_.empty()) return {};
    return fail(Errc::unreachable,
                options_.seeds.front().describe() + ": nobody tells in time which server to ask");
  }
  is_learning_ = true;
  const auto whom = whom_to_ask();
  guard.unlock();
  auto done = ask_around(whom, search);
  guard.lock();
  is_learning_ = false;
  next_learning_ = Clock::now() + jittered(kLearnAgain);
  guard.unlock();
  learned_.notify_all();
  return done;
}

/// Under the mutex. Those that have failed come last.
std::vector<Route::Server*> Route::whom_to_ask() {
  auto whom = seeds_;
  std::rotate(whom.begin(), whom.begin() + static_cast<std::ptrdiff_t>(random_below(whom.size())),
              whom.end());
  if (options_.topology == Topology::cluster) {
    for (const auto& known : servers_) {
      if (std::find(whom.begin(), whom.end(), known.get()) == whom.end()) {
        whom.push_back(known.get());
      }
    }
  }
  std::stable_partition(whom.begin(), whom.end(),
                        [](const Server* server) { return !server->has_failed; });
  return whom;
}

Result<void> Route::ask_around(const std::vector<Server*>& whom, const lock::Deadline& search) {
  Result<void> done;
  for (auto* server : whom) {
    auto asked = ask_for_map(*server, search);
    if (asked) return asked;
    server->has_failed = true;
    // What an answer says, rather than that there was none, rather than that nobody was asked.
    const bool says_more =
        asked.error().code == Errc::remote_refused || done || done.error().code == Errc::left_alone;
    if (says_more) done = std::move(asked);
    if (search.passed()) break;
  }
  return done;
}

/// On a connection of its own, which ends with the search.
Result<void> Route::ask_for_map(Server& whom, const lock::Deadline& search) {
  const auto verdict = whom.breaker.ask();
  if (verdict == Breaker::Verdict::refused) {
    return fail(Errc::left_alone, whom.options.server.describe() + ": left alone");
  }
  auto options = whom.options;
  options.topology = Topology::single;
  const auto left =
      std::max<std::chrono::nanoseconds>(time_left(search) / 2, std::chrono::milliseconds(1));
  options.connect_timeout = std::min(options.connect_timeout, left);
  options.read_timeout = std::min(options.read_timeout, left);
  options.write_timeout = std::min(options.write_timeout, left);
  Connection connection(options);
  auto answer = ask_for_masters(connection, options_);
  if (!answer) {
    if (answer.error().code == Errc::unreachable && whom.breaker.failed(verdict)) tell_(true);
    return fail(std::move(answer).error());
  }
  whom.has_failed = false;
  if (whom.breaker.succeeded()) tell_(false);
  CACHECTL_ASSIGN(const auto ranges, masters_in(**answer, options.server, options_));
  const std::lock_guard guard(mutex_);
  map_.assign(kSlots, nullptr);
  for (const auto& range : ranges) {
    auto* const server = server_at(range.master);
    std::fill(map_.begin() + range.first, map_.begin() + range.last + 1, server);
  }
  is_stale_ = false;
  return {};
}

Result<void> Route::lend(Server& server, const Work& work) {
  const auto verdict = server.breaker.ask();
  if (verdict == Breaker::Verdict::refused) {
    return fail(
        Errc::left_alone,
        server.options.server.describe() + ": left alone, as it has failed several times in a row",
        "it is tried again in " + config::format_duration(server.breaker.left()));
  }
  const bool is_trial = verdict == Breaker::Verdict::trial;
  const auto failed = [&](Error why) {
    server.has_failed = true;
    if (server.breaker.failed(verdict)) tell_(true);
    return fail(std::move(why));
  };
  bool attempted = false;
  auto connection =
      server.pool.checkout(is_trial ? Pool::Pause::skip : Pool::Pause::keep, &attempted);
  if (!connection) {
    if (attempted || is_trial) return failed(std::move(connection).error());
    return fail(std::move(connection).error());
  }
  auto done = work(**connection);
  if (!done && done.error().code == Errc::unreachable) return failed(std::move(done).error());
  server.has_failed = false;
  if (server.breaker.succeeded()) tell_(false);
  return done;
}

Result<void> Route::with(Server& server, const Work& work, const lock::Deadline& search) {
  if (options_.topology == Topology::single) return lend(server, work);
  // What another server does is not this one's failure.
  std::optional<Error> elsewhere;
  auto done = lend(server, [&](Connection& connection) -> Result<void> {
    connection.set_detour([&](std::string_view command, std::unique_ptr<Reply> reply,
                              const Patience& patience) -> Result<std::unique_ptr<Reply>> {
      auto answer = detour(server, command, std::move(reply), patience, search);
      if (!answer) elsewhere = answer.error();
      return answer;
    });
    auto worked = work(connection);
    connection.set_detour({});
    return elsewhere ? Result<void>() : worked;
  });
  if (done && elsewhere) return fail(std::move(*elsewhere));
  return done;
}

Result<std::unique_ptr<Reply>> Route::detour(Server& from, std::string_view command,
                                             std::unique_ptr<Reply> reply, const Patience& patience,
                                             const lock::Deadline& search) {
  using What = Redirection::Kind;
  auto* server = &from;
  bool is_asking = false;
  std::chrono::nanoseconds pause = kFirstTryAgain;
  for (int step = 0; step < kMostDetours && !search.passed(); ++step) {
    const auto to = redirection_in(*reply, server->options.server);
    if (!to) return reply;
    if (to->kind == What::read_only) {
      auto* const other = successor(*server, {}, search);
      if (other == nullptr) return reply;
      server = other;
    } else if (to->kind == What::again) {
      std::this_thread::sleep_for(std::min(pause, time_left(search)));
      pause *= 2;
    } else {
      is_asking = to->kind == What::ask;
      const std::lock_guard guard(mutex_);
      server = server_at(to->to);
      if (!is_asking && !map_.empty()) map_[to->slot] = server;
    }
    Commands commands;
    if (is_asking) commands.add({"ASKING"});
    commands.add_encoded(command);
    CACHECTL_TRY(lend(*server, [&](Connection& connection) {
      return connection.exchange(
          commands,
          [&](std::size_t index, Reply& answer) -> Result<void> {
            if (index + 1 == commands.count()) reply = std::make_unique<Reply>(std::move(answer));
            return {};
          },
          patience);
    }));
  }
  return reply;
}

}  // namespace cachectl::remote
