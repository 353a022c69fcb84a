#include "src/remote/pool.hpp"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "src/remote/jitter.hpp"

namespace cachectl::remote {

namespace {

using MonotonicClock = lock::Deadline::Clock;

constexpr std::chrono::nanoseconds kFirstPause = std::chrono::milliseconds(10);
constexpr std::chrono::nanoseconds kLongestPause = std::chrono::seconds(1);
constexpr std::chrono::seconds kIdleFor{30};

}  // namespace

struct Pool::State {
  struct Idle {
    std::unique_ptr<Connection> connection;
    MonotonicClock::time_point since;
  };

  explicit State(const Options& given) : options(given) {}

  Options options;
  pid_t owner = ::getpid();
  std::mutex mutex;
  std::condition_variable came_back;
  std::vector<Idle> idle;  // the one used last is at the end
  std::size_t lent = 0;
  std::uint64_t failures = 0;  // to connect, in a row
  MonotonicClock::time_point not_before{};
  std::optional<Error> last_failure;

  [[nodiscard]] Result<std::unique_ptr<Connection>> take(Pause pause, bool& attempted);
  [[nodiscard]] Result<void> connect(Connection& connection);
  void give_back(std::unique_ptr<Connection> connection);
};

/// One that lives, or a new one that is not connected. Counted as lent.
Result<std::unique_ptr<Connection>> Pool::State::take(Pause pause, bool& attempted) {
  std::unique_lock guard(mutex);
  const auto until = MonotonicClock::now() + options.connect_timeout;
  const auto most = std::max<std::size_t>(options.pool_size, 1);
  if (!came_back.wait_until(guard, until, [&] { return lent < most; })) {
    return fail(Errc::unreachable,
                options.server.describe() + ": all connections of this process are in use",
                "raise redis.pool-size");
  }
  while (!idle.empty()) {
    auto candidate = std::move(idle.back().connection);
    idle.pop_back();
    if (!candidate->is_alive()) continue;
    ++lent;
    attempted = true;
    return candidate;
  }
  if (pause == Pause::keep && last_failure && MonotonicClock::now() < not_before)
    return fail(*last_failure);
  ++lent;
  attempted = true;
  return std::make_unique<Connection>(options);
}

Result<void> Pool::State::connect(Connection& connection) {
  if (connection.is_connected()) return {};
  auto done = connection.connect();
  const std::lock_guard guard(mutex);
  if (done) {
    failures = 0;
    last_failure.reset();
    return done;
  }
  not_before = MonotonicClock::now() + jittered(doubled(kFirstPause, failures, kLongestPause));
  ++failures;
  last_failure = done.error();
  return done;
}

void Pool::State::give_back(std::unique_ptr<Connection> connection) {
  std::vector<Idle> closed;  // outside of the lock
  {
    const std::lock_guard guard(mutex);
    --lent;
    const auto now = MonotonicClock::now();
    if (connection->is_connected()) idle.push_back({std::move(connection), now});
    while (idle.size() > options.min_idle && now - idle.front().since > kIdleFor) {
      closed.push_back(std::move(idle.front()));
      idle.erase(idle.begin());
    }
  }
  came_back.notify_one();
}

Pool::Pool(const Options& options) : options_(&options), state_(std::make_shared<State>(options)) {}

Pool::~Pool() = default;

/// A child of a fork gets its own: a thread of the parent may have held the mutex.
std::shared_ptr<Pool::State> Pool::state() {
  if (state_->owner != ::getpid()) {
    auto fresh = std::make_shared<State>(*options_);
    // Left as it is, because to destroy it is to use it.
    static_cast<void>(new std::shared_ptr<State>(std::move(state_)));
    state_ = std::move(fresh);
  }
  return state_;
}

Result<Pool::Lent> Pool::checkout(Pause pause, bool* attempted) {
  bool asked = false;
  auto own = state();
  auto taken = own->take(pause, asked);
  if (attempted != nullptr) *attempted = asked;
  if (!taken) return fail(std::move(taken).error());
  Lent lent(own, std::move(*taken));
  CACHECTL_TRY(own->connect(*lent));
  return lent;
}

std::size_t Pool::idle() {
  const auto own = state();
  const std::lock_guard guard(own->mutex);
  return own->idle.size();
}

Pool::Lent::~Lent() {
  if (connection_ == nullptr) return;
  if (state_->owner == ::getpid()) {
    state_->give_back(std::move(connection_));
    return;
  }
  // Lent before a fork: it is the parent's.
  connection_.reset();
}

}  // namespace cachectl::remote
