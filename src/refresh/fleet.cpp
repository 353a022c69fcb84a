#include "src/refresh/fleet.hpp"

namespace cachectl::refresh {

namespace {

/// What comes of it, behind what to do.
Error with_outcome(Error what) {
  constexpr std::string_view kOutcome = "going on without it";
  what.advice = what.advice.empty() ? std::string(kOutcome)
                                    : what.advice + "; until then " + std::string(kOutcome);
  return what;
}

}  // namespace

const Shared* Fleet::find(const Key& key) { return shares(key) ? open() : nullptr; }

FindShared Fleet::finder(const Key& key) {
  if (!options_.remote) return {};
  return [this, &key] { return find(key); };
}

Result<const Shared*> Fleet::need() {
  if (!options_.remote) {
    return fail(Errc::config, "there is no server to ask", "set redis.url, or leave out --tier");
  }
  const auto* shared = open();
  if (shared != nullptr) return shared;
  return fail(Errc::config, "the server cannot be used", "what is wrong was said before");
}

std::unique_ptr<Coherence> Fleet::follow(std::vector<Coherence::Kept> kept) {
  if (!options_.remote || open() == nullptr) return nullptr;
  std::erase_if(kept, [&](const auto& each) { return !shares(each.key); });
  return std::make_unique<Coherence>(*options_.root(), options_.warn, *tier_, *shared_,
                                     std::move(kept));
}

const Shared* Fleet::open() {
  const std::lock_guard guard(mutex_);
  if (was_tried_) return shared_.get();
  const auto* root = options_.root();
  if (root == nullptr) return nullptr;
  was_tried_ = true;
  const auto told = [this](Error what) {
    if (options_.warn) options_.warn(with_outcome(std::move(what)));
    return nullptr;
  };
  auto remote = options_.remote();
  if (!remote) return told(std::move(remote).error());
  // Both are made under the mutex, and the tier asks nobody before it is asked.
  remote::Hooks hooks;
  hooks.warn = [this](const Key& key, const Error& why) { shared_->damaged(key, why); };
  hooks.breaker = [this](bool is_open) { shared_->changed(is_open); };
  auto tier = remote::Tier::open(std::move(*remote), root->directory(), root->file_mode(),
                                 *options_.clock, hooks);
  if (!tier) return told(std::move(tier).error());
  tier_ = std::move(*tier);
  shared_ = std::make_unique<Shared>(*root, *options_.clock, options_.warn, *tier_);
  return shared_.get();
}

}  // namespace cachectl::refresh
