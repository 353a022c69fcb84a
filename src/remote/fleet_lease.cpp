#include "src/remote/fleet_lease.hpp"

#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "lock/signals.hpp"
#include "src/remote/failure.hpp"

namespace cachectl::remote {

namespace {

// KEYS: the lease. ARGV: the token; the life in milliseconds.
constexpr std::string_view kRenew =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) "
    "end return 0";
// KEYS: the lease; the list. ARGV: the token. Whoever waits when the lease was lost already waits
// for somebody else.
constexpr std::string_view kRelease =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1]) "
    "redis.call('RPUSH', KEYS[2], '1') redis.call('PEXPIRE', KEYS[2], 60000) return 1";

constexpr int kMostLostWaits = 3;

std::string random_token() {
  std::array<std::uint64_t, 2> words{};
  if (::getrandom(words.data(), sizeof words, 0) != sizeof words) words[0] = 0;
  return words[0] == 0 ? std::string() : fmt::format("{:016x}{:016x}", words[0], words[1]);
}

std::string life() { return std::to_string(FleetLease::kLife.count()); }

}  // namespace

/// Keeps the lease alive, on a thread and a connection of its own.
class FleetLease::Renewer {
 public:
  Renewer(Tier& tier, std::string lead, std::string token)
      : tier_(&tier), lead_(std::move(lead)), token_(std::move(token)) {
    const lock::SignalsBlocked blocked;
    thread_ = std::thread([this] { run(); });
  }
  ~Renewer() {
    {
      const std::lock_guard guard(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kLife * 3 / 10, [this] { return ends_; })) {
      lock.unlock();
      // What fails is tried again; should it come too late, another one leads.
      static_cast<void>(tier_->ask(lead_, {"EVAL", kRenew, "1", lead_, token_, life()}));
      lock.lock();
    }
  }

  Tier* tier_;
  std::string lead_;
  std::string token_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;
};

FleetLease::FleetLease(Tier& tier, std::string lead, std::string wake, std::string token)
    : tier_(&tier),
      lead_(std::move(lead)),
      wake_(std::move(wake)),
      token_(std::move(token)),
      renewer_(std::make_unique<Renewer>(tier, lead_, token_)) {}

FleetLease::~FleetLease() {
  renewer_.reset();
  // As far as it goes: else it ends by itself.
  static_cast<void>(tier_->ask(lead_, {"EVAL", kRelease, "2", lead_, wake_, token_}));
}

Fence FleetLease::fence() const { return {lead_, token_}; }

Result<std::unique_ptr<FleetLease>> FleetLease::lead(Tier& tier, const Key& key,
                                                     const lock::Deadline& deadline) {
  using std::chrono::milliseconds;
  const auto lead = tier.names().lead(key);
  const auto token = random_token();
  if (token.empty()) return fail(system_error("draw a random number"));
  const auto won = [&] {
    return std::unique_ptr<FleetLease>(
        new FleetLease(tier, lead, tier.names().wake(key, token), token));
  };
  for (int lost_waits = 0;;) {
    CACHECTL_ASSIGN(const auto taken, tier.ask(lead, {"SET", lead, token, "NX", "PX", life()}));
    if (taken->is(Reply::Type::status)) return won();
    CACHECTL_ASSIGN(const auto holder, tier.ask(lead, {"GET", lead}));
    if (!holder->is(Reply::Type::string)) continue;  // he has just ended
    // Asked twice, as the answer to the first was lost.
    if (holder->text == token) return won();
    CACHECTL_ASSIGN(const auto rest, tier.ask(lead, {"PTTL", lead}));
    // A little longer than he lives, so that the next round finds it free.
    auto wait = milliseconds(std::max(rest->integer, 0LL)) + milliseconds(20);
    if (deadline.passed()) return nullptr;
    if (!deadline.is_never()) {
      const auto left = deadline.at() - lock::Deadline::Clock::now();
      wait = std::min(wait, std::max(std::chrono::ceil<milliseconds>(left), milliseconds(1)));
    }
    const auto wake = tier.names().wake(key, holder->text);
    const auto seconds = fmt::format("{:.3f}", static_cast<double>(wait.count()) / 1000);
    const auto woken = tier.ask(lead, {"BLMOVE", wake, wake, "LEFT", "RIGHT", seconds},
                                {wait, deadline.observer()});
    if (!woken && ++lost_waits <= kMostLostWaits && kind_of(woken.error()) == Kind::connection) {
      continue;  // that server is gone; where another one has taken over, it knows
    }
    if (!woken) return fail(woken.error());
    if ((*woken)->is(Reply::Type::string) || deadline.passed()) return nullptr;
  }
}

}  // namespace cachectl::remote
