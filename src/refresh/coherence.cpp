#include "src/refresh/coherence.hpp"

#include <sys/eventfd.h>

#include <algorithm>

#include "lock/signals.hpp"
#include "src/remote/jitter.hpp"
#include "src/remote/socket.hpp"
#include "src/store/scan.hpp"
#include "src/store/store.hpp"

namespace cachectl::refresh {

namespace {

using remote::Subscription;
using std::chrono::milliseconds;

/// That many records are compared at a time.
constexpr std::size_t kCompared = 512;

}  // namespace

Coherence::Coherence(const store::Root& root, Shared::Warn warn, remote::Tier& tier,
                     const Shared& shared, std::vector<Kept> kept)
    : root_(&root),
      warn_(std::move(warn)),
      tier_(&tier),
      shared_(&shared),
      kept_(std::move(kept)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  if (!stop_.valid()) return;
  const lock::SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

Coherence::~Coherence() {
  if (!thread_.joinable()) return;
  static_cast<void>(::eventfd_write(stop_.get(), 1));
  thread_.join();
}

void Coherence::run() {
  constexpr milliseconds kFirstPause(100);
  constexpr milliseconds kLongestPause(2000);
  Subscription subscription(*tier_);
  for (std::uint64_t failures = 0;;) {
    const auto news = subscription.next(stop_.get());
    if (news) {
      failures = 0;
      if (news->what == Subscription::News::What::stopped) return;
      if (news->what == Subscription::News::What::begun) catch_up();
      if (news->what == Subscription::News::What::changed) renew(news->hash, news->created);
      continue;
    }
    if (failures == 0 && warn_) {
      warn_(Error(news.error()).advising("what other machines change is seen when it is back"));
    }
    const auto pause = remote::jittered(remote::doubled(kFirstPause, failures++, kLongestPause));
    const auto stops = remote::wait_for_socket(stop_.get(), POLLIN, lock::Deadline::after(pause));
    if (!stops || *stops) return;
  }
}

/// Compares all that is here, and all that should be, with what the server has.
void Coherence::catch_up() const {
  std::vector<Key> keys;
  std::vector<WallTime> created;
  // What is kept is asked for whether it is here or not.
  for (const auto& each : kept_) keys.push_back(each.key);
  created.resize(keys.size(), WallTime::min());
  const auto compare = [&] {
    const auto stamps = tier_->stamps(keys);
    for (std::size_t at = 0; at < keys.size(); ++at) {
      if (stamps[at] && stamps[at]->created > created[at])
        renew(keys[at].hash(), stamps[at]->created);
    }
    keys.clear();
    created.clear();
  };
  const auto visited = store::each_record(
      *root_,
      [&](const KeyHash&, const store::Entry& entry) {
        auto key = Key::from(std::string(entry.key()));
        if (!key) return;
        keys.push_back(std::move(*key));
        created.push_back(entry.header().created);
        if (keys.size() >= kCompared) compare();
      },
      [](const Error&) {});
  compare();
  if (!visited && warn_) warn_(visited.error());
}

/// A version that is older than `created` goes, or is replaced if it is to be kept.
void Coherence::renew(const KeyHash& hash, WallTime created) const {
  const auto kept = std::find_if(kept_.begin(), kept_.end(),
                                 [&](const auto& each) { return each.key.hash() == hash; });
  std::string key;
  bool is_here = false;
  const auto is_older = [&]() -> bool {
    const auto found = store::open_record(root_->directory(), store::entry_name(hash).path(),
                                          nullptr, store::Want::header);
    is_here = found && found->entry;
    if (!is_here) return found && kept != kept_.end();
    key = found->entry->key();
    return found->entry->header().created < created;
  };
  if (!is_older()) return;
  const auto held = store::acquire(*root_, store::slot_of(hash), key, lock::Mode::exclusive,
                                   lock::Deadline::after(std::chrono::seconds(1)),
                                   "cachectl, for another machine");
  if (!held || !*held || !is_older()) return;
  if (kept != kept_.end()) {
    const auto taken = shared_->take(kept->key, kept->retention);
    if (!taken && warn_) warn_(taken.error());
    if (taken && *taken) return;
  }
  if (!is_here) return;
  const auto removed = store::remove(*root_, hash, lock::Durability::none);
  if (!removed && warn_) warn_(removed.error());
  if (removed && *removed) root_->tell({telemetry::What::removed, key});
}

}  // namespace cachectl::refresh
