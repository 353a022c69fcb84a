#include "cli/watching.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cli/progress_line.hpp"
#include "src/config/duration.hpp"

namespace cachectl::cli {

namespace {

/// A wait of less is not worth a line in a log.
constexpr std::chrono::seconds kLong{5};

/// Whole seconds, but for the first.
std::string in_words(std::chrono::nanoseconds duration) {
  if (duration < std::chrono::seconds(1)) return config::format_duration(duration);
  return config::format_duration(std::chrono::floor<std::chrono::seconds>(duration));
}

std::string describe(const std::optional<lock::OwnerNote>& owner, WallTime now) {
  if (!owner) return "held by an unknown process";
  // Who has the lock himself, and waits, waits for the leader of the fleet.
  if (owner->process == lock::ProcessIdentity::self()) return "another machine makes it";
  const auto age = std::max<std::chrono::nanoseconds>(now - owner->since, std::chrono::seconds(0));
  const bool gone = lock::liveness(owner->process) == lock::Liveness::gone;
  return fmt::format("held for {} by {}pid {} ({})", in_words(age), gone ? "a child of " : "",
                     owner->process.pid, escaped(owner->command));
}

}  // namespace

Watching::Watching(Session& session, const Cache& cache, const Key* key)
    : session_(&session), cache_(&cache), key_(key) {
  if (key_ != nullptr) session_->concern(*key_);
}

Watching::Watching(Session& session, const Key* key, std::string what,
                   std::function<std::string()> held)
    : session_(&session), key_(key), what_(std::move(what)), held_(std::move(held)) {
  if (key_ != nullptr) session_->concern(*key_);
}

void Watching::turn_to(const Key& key) {
  conclude();
  key_ = &key;
  session_->concern(key);
}

lock::Deadline Watching::watched(const lock::Deadline& deadline) {
  deadline_ = deadline;
  return deadline.observed_by(*this);
}

std::string Watching::what() const {
  if (!what_.empty()) return what_;
  return key_ != nullptr ? "'" + key_->printable() + "'" : "the whole cache " + cache_->path();
}

std::string Watching::holder() {
  if (held_) return held_();
  // Where closing a descriptor of the file may take time to happen, once has to do.
  if (!owner_ || lock::backend.survives_close) owner_ = cache_->holder(key_);
  return describe(owner_, cache_->clock().now());
}

void Watching::waiting() {
  const auto now = Clock::now();
  if (!since_) since_ = now;
  const auto so_far = waited_ + (now - *since_);
  if (so_far < std::chrono::seconds(1) || !session_->says(config::LogLevel::notice)) return;
  last_holder_ = holder();
  if (session_->shared_line() != nullptr) return;
  session_->progress().show([&] {
    auto text = fmt::format("waiting for {}: {}", what(), in_words(so_far));
    if (!deadline_.is_never()) {
      const auto left =
          std::max<std::chrono::nanoseconds>(deadline_.at() - now, Clock::duration(0));
      text += fmt::format(", {} left", in_words(std::chrono::ceil<std::chrono::seconds>(left)));
    }
    return text + "; " + last_holder_;
  });
}

void Watching::waited() {
  if (since_) waited_ += Clock::now() - *since_;
  since_.reset();
  session_->clear_progress();
}

/// Says how long it has waited, where nobody saw it.
void Watching::conclude() {
  session_->clear_progress();
  const auto waited = std::exchange(waited_, std::chrono::nanoseconds(0));
  // Who has waited in vain says so himself.
  if (waited == waited.zero() || deadline_.passed()) return;
  const bool was_seen = session_->shared_line() == nullptr && is_terminal(STDERR_FILENO);
  const auto level =
      waited > kLong && !was_seen ? config::LogLevel::notice : config::LogLevel::info;
  if (!session_->says(level)) return;
  auto text = "waited " + in_words(waited) + " for " + what();
  if (!last_holder_.empty()) text += "; " + last_holder_;
  session_->tell(level, text);
}

bool Watching::starts() {
  conclude();
  session_->tell(config::LogLevel::info, what() + ": running the source");
  return session_->says(config::LogLevel::notice) && is_terminal(STDERR_FILENO);
}

void Watching::runs(std::chrono::nanoseconds since) {
  if (silent_ || session_->shared_line() != nullptr) return;
  session_->progress().show([&] {
    return fmt::format("refreshing {}: {}", key_ != nullptr ? key_->printable() : what(),
                       in_words(since));
  });
}

/// Its own words tell enough, and would be torn by a line that changes between them.
void Watching::passes_on(int descriptor) {
  if (silent_ || !is_terminal(descriptor)) return;
  silent_ = true;
  session_->clear_progress();
  if (const auto* line = session_->shared_line()) line->take_away();
}

void Watching::ran() { session_->clear_progress(); }

}  // namespace cachectl::cli
